import type { Clock } from '../../domain/clock.ts';
import type { Settings } from '../settings.ts';
import { type FileReader, fingerprint } from './file-reader.ts';
import type { ConfigFileResult, SeenFiles } from './read-config-file.ts';

export interface ConfigFileWatcherDeps {
  clock: Clock;
  /** Reads the configuration file and what it names. Never rejects. */
  load: () => Promise<ConfigFileResult>;
  /** Reads one file, to see whether it has changed. */
  read: FileReader;
  /** What the result that is in force was made from. */
  seen: SeenFiles;
  /** Puts new settings in force; when it rejects, those before stay. Also called when a bad file is good again. */
  onLoaded: (settings: Settings, warnings: readonly string[]) => void | Promise<void>;
  /** The file is bad or gone; what is in force stays so. Told once for each state of the file. */
  onRejected: (problems: readonly string[]) => void;
  /** `onLoaded` rejected, or something else went wrong that is not the file's fault; the next look tries again. */
  onError: (error: unknown) => void;
}

export interface ConfigFileWatcher {
  /** Reads the file now, whether it has changed or not. Resolves when a reading that began after the call has been told. */
  reload(): Promise<void>;
  /** Stops to watch. Resolves when a reading under way has been told. */
  stop(): Promise<void>;
}

const INTERVAL_MS = 10_000;
/** A file that is being written is read when it has stayed the same for so long: half of a policy could allow more than all of it. */
const SETTLE_MS = 1000;

/**
 * Watches a configuration file and the files that it names by their content, so that replaced files and swapped symbolic links (as
 * Kubernetes swaps them) are seen as well. Two readings never overlap, and what is told is told in order.
 */
export function watchConfigFile(deps: ConfigFileWatcherDeps): ConfigFileWatcher {
  let seen = deps.seen;
  let changed: SeenFiles | null = null;
  let untold = false;
  let stopped = false;
  let cancel = (): void => {};
  let running: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | null = null;

  const take = async (result: ConfigFileResult): Promise<void> => {
    seen = result.seen;
    changed = null;
    untold = true;
    if (result.outcome === 'invalid') deps.onRejected(result.problems);
    else await deps.onLoaded(result.settings, result.warnings);
    untold = false;
  };
  const look = async (): Promise<void> => {
    if (untold) return take(await deps.load());
    const now = await currentOf(seen, deps.read);
    if (agree(now, seen)) changed = null;
    else if (changed === null || !agree(now, changed)) changed = now;
    else {
      const result = await deps.load();
      // Once more, when it has changed again in between.
      if (agree(now, result.seen)) await take(result);
      else changed = now;
    }
  };
  const lookAgain = async (): Promise<void> => {
    try {
      await look();
    } catch (error) {
      deps.onError(error);
    } finally {
      if (!stopped) plan();
    }
  };
  const plan = (): void => {
    cancel = deps.clock.schedule(changed === null ? INTERVAL_MS : SETTLE_MS, () => void enqueue(lookAgain));
  };
  const enqueue = (step: () => Promise<void>): Promise<void> => {
    running = running.then(step).catch(deps.onError);
    return running;
  };

  plan();
  return {
    reload() {
      // Whoever asks while a reading has yet to begin shares it.
      waiting ??= enqueue(async () => {
        waiting = null;
        await take(await deps.load());
      });
      return waiting;
    },
    async stop() {
      stopped = true;
      cancel();
      await running;
    },
  };
}

async function currentOf(files: SeenFiles, read: FileReader): Promise<SeenFiles> {
  const now = new Map<string, string>();
  for (const path of files.keys()) now.set(path, fingerprint(await read(path)));
  return now;
}

/** Whether no file that is in both has changed. */
const agree = (one: SeenFiles, other: SeenFiles): boolean =>
  [...one].every(([path, print]) => (other.get(path) ?? print) === print);
