import type { Clock } from '../domain/clock.ts';
import type { Log } from '../transport/logging.ts';
import type { Metrics } from '../transport/metrics.ts';
import type { BrokerParts } from './broker-parts.ts';
import { readRegularFile } from './config-file/file-reader.ts';
import { type ConfigFileWatcher, watchConfigFile } from './config-file/watch-config-file.ts';
import { ConfigurationError } from './configuration-error.ts';
import { type Configuration, readSettings } from './configuration.ts';
import type { Settings } from './settings.ts';

/** What happens to the configuration file while the process runs. */
export interface ConfigurationWatch {
  start(): void;
  /** Reads the file now. Resolves when it is in force, or rejected. */
  reload(): Promise<void>;
  stop(): Promise<void>;
  /** For `/readyz`: a file that was rejected keeps no call from being served, and somebody should know. */
  details(): Readonly<Record<string, string>>;
}

const NO_FILE: ConfigurationWatch = {
  start: () => undefined,
  reload: () => Promise.resolve(),
  stop: () => Promise.resolve(),
  details: () => ({}),
};

/** Keeps the parts that decide in step with the configuration file. A file with a mistake changes nothing. */
export function watchConfiguration(
  { environment, settings: first, file, warnings }: Configuration,
  { replace }: Pick<BrokerParts, 'replace'>,
  { clock, log, metrics }: { clock: Clock; log: Log; metrics: Metrics },
): ConfigurationWatch {
  let revision = first.revision;
  let isRejected = false;
  const accepted = (settings: Settings, doubts: readonly string[]): void => {
    ({ revision } = settings);
    isRejected = false;
    metrics.observeConfiguration({ ok: true, revision, at: clock.now() });
    log.info({ revision, problems: doubts }, 'configuration in force');
  };
  const rejected = (problems: readonly string[]): void => {
    isRejected = true;
    metrics.observeConfiguration({ ok: false });
    log.error({ revision, problems }, 'the configuration file has mistakes; the configuration in force stays');
  };

  accepted(first, warnings);
  if (file === null) return NO_FILE;
  let watcher: ConfigFileWatcher | null = null;
  return {
    start() {
      watcher = watchConfigFile({
        clock,
        load: () => readSettings(environment),
        read: readRegularFile,
        seen: file.seen,
        onLoaded(settings, doubts) {
          try {
            replace(settings);
          } catch (error) {
            if (!(error instanceof ConfigurationError)) throw error;
            return error.problems;
          }
          accepted(settings, doubts);
          return [];
        },
        onRejected: rejected,
        onError: (error) => log.error({ error }, 'the configuration file could not be taken up; the next look tries again'),
      });
    },
    reload: () => watcher?.reload() ?? Promise.resolve(),
    stop: () => watcher?.stop() ?? Promise.resolve(),
    details: () => ({
      configuration: isRejected ? `rejected: revision ${revision} stays in force` : `revision ${revision}`,
    }),
  };
}
