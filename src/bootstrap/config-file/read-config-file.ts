import type { Settings } from '../settings.ts';
import { fileProblem } from './file-content.ts';
import { type FileReader, type FileReading, fingerprint, readRegularFile, textOf } from './file-reader.ts';
import type { ConfigFileContext } from './known-issuers.ts';
import { type ParsedConfigFile, parseConfigFile } from './parse-config-file.ts';
import { formatProblems, type Problem } from './problem.ts';
import { resolveFrom } from './referenced-files.ts';
import { toSettings } from './to-settings.ts';

/** The files that went into a result, by path, each with its fingerprint; another one means that the result is out of date. */
export type SeenFiles = ReadonlyMap<string, string>;

/** What became of reading a configuration file. Each line of `problems` and `warnings` names the file, the line and the column. */
export type ConfigFileResult =
  | { outcome: 'valid'; settings: Settings; warnings: readonly string[]; seen: SeenFiles }
  | { outcome: 'invalid'; problems: readonly string[]; warnings: readonly string[]; seen: SeenFiles };

export interface ReadOptions {
  read?: FileReader;
  /** Whose secrets must belong to; the process's own user by default. */
  ownUid?: number;
}

/**
 * Reads a configuration file and the files that it names. Tells every mistake at once, as `FILE:LINE:COLUMN: path.to.field: message`.
 * Never rejects. No problem, no warning and no part of the revision holds a secret.
 */
export async function readConfigFile(
  path: string,
  context: ConfigFileContext,
  options: ReadOptions = {},
): Promise<ConfigFileResult> {
  const { read = readRegularFile, ownUid = process.geteuid?.() ?? 0 } = options;
  const reading = await read(path);
  const seen = new Map([[path, fingerprint(reading)]]);
  const text = configText(reading);
  if (text === null) return { outcome: 'invalid', problems: [unreadable(path, reading)], warnings: [], seen };
  const parsed = parseConfigFile(text, context);
  const named = await readNamedFiles(path, parsed, read, ownUid);
  for (const [file, print] of named.seen) seen.set(file, print);
  const warnings = formatProblems(path, parsed.warnings);
  const problems = formatProblems(path, [...parsed.problems, ...named.problems]);
  if (parsed.file === null || problems.length > 0) return { outcome: 'invalid', problems, warnings, seen };
  const resolve = (name: string) => resolveFrom(path, name);
  const textOfNamed = (name: string) => {
    const content = named.contents.get(resolve(name));
    return (content === undefined ? null : configText(content)) ?? '';
  };
  const settings = toSettings(parsed.file, { resolve, text: textOfNamed });
  return { outcome: 'valid', settings, warnings: [...writableByOthers(path, reading), ...warnings], seen };
}

/** The text of a file; null when it could not be read or is not UTF-8. */
export const configText = (reading: FileReading): string | null => ('failure' in reading ? null : textOf(reading));

/** Says why a file has no text. */
export const unreadable = (path: string, reading: FileReading): string =>
  `${path}: the file ${'failure' in reading ? reading.failure : 'is not UTF-8 text'}`;

interface NamedFilesRead {
  contents: ReadonlyMap<string, FileReading>;
  seen: SeenFiles;
  problems: readonly Problem[];
}

async function readNamedFiles(
  path: string,
  { references, problemAt }: ParsedConfigFile,
  read: FileReader,
  ownUid: number,
): Promise<NamedFilesRead> {
  const contents = new Map<string, FileReading>();
  const seen = new Map<string, string>();
  const problems: Problem[] = [];
  for (const reference of references) {
    const file = resolveFrom(path, reference.name);
    const content = contents.get(file) ?? (await read(file));
    contents.set(file, content);
    // A token is read again for every use, and changes often.
    if (reference.kind !== 'token') seen.set(file, fingerprint(content));
    const problem = fileProblem(reference.kind, content, ownUid);
    if (problem !== null) problems.push(problemAt(reference, problem));
  }
  return { contents, seen, problems };
}

function writableByOthers(path: string, reading: FileReading): readonly string[] {
  const writable = !('failure' in reading) && (reading.mode & 0o002) !== 0;
  return writable ? [`${path}: every user of this machine may write this file, and so decide who may do what`] : [];
}
