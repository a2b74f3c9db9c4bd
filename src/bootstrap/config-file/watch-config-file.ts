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
  /**
   * Puts new settings in force, and answers with no problems; or answers with what is wrong with them, and leaves those before. Also
   * called when a bad file is good again.
   */
  onLoaded: (settings: Settings, warnings: readonly string[]) => readonly string[] | Promise<readonly string[]>;
  /** The file is bad or gone, or its settings are; what is in force stays so. Told again when the problems are others. */
  onRejected: (problems: readonly string[]) => void;
  /** `onLoaded` rejected, or something else went wrong that is not the file's fault; the next look tries again. */
  onError: (error: unknown) => void;
}

export interface ConfigFileWatcher {
  /** Reads the file now, whether it has changed or not, and tells what comes of it, known or not. Resolves when a reading that began after the call has been told. */
  reload(): Promise<void>;
  /** Stops to watch. Resolves when a reading under way has been told. */
  stop(): Promise<void>;
}

const INTERVAL_MS = 10_000;
/** A file that is being written is read when it has stayed the same for so long: half of a policy could allow more than all of it. */
const SETTLE_MS = 1000;

/**
 * Watches a configuration file and the files that it names by their content, so that replaced files and swapped symbolic links (as
 * Kubernetes swaps them) are seen as well. What was rejected is tried again at every look, as the cause may be gone without a change to
 * any file that is watched. Two readings never overlap, and what is told is told in order.
 */
export function watchConfigFile(deps: ConfigFileWatcherDeps): ConfigFileWatcher {
  let seen = deps.seen;
  let changed: SeenFiles | null = null;
  let rejected: string | null = null;
  let untold = false;
  let stopped = false;
  let cancel = (): void => {};
  let running: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | null = null;

  const take = async (result: ConfigFileResult): Promise<void> => {
    seen = result.seen;
    changed = null;
    untold = true;
    const problems = result.outcome === 'invalid' ? result.problems : await deps.onLoaded(result.settings, result.warnings);
    const state = problems.length === 0 ? null : problems.join('\n');
    if (state !== null && state !== rejected) deps.onRejected(problems);
    rejected = state;
    untold = false;
  };
  const look = async (): Promise<void> => {
    if (untold) return take(await deps.load());
    const now = await currentOf(seen, deps.read);
    const unchanged = agree(now, seen);
    const settled = changed !== null && agree(now, changed);
    changed = unchanged ? null : now;
    if (unchanged ? rejected === null : !settled) return;
    const result = await deps.load();
    // Once more, when it has changed again in between.
    if (agree(now, result.seen)) await take(result);
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
        rejected = null;
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
