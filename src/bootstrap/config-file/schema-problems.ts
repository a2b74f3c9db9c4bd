import { z } from 'zod';
import type { Suggest } from './nearest-name.ts';
import type { FieldPath, Problem } from './problem.ts';
import { CONFIG_FILE } from './schema.ts';
import type { YamlDocument } from './yaml-document.ts';

type Issue = z.core.$ZodIssue;

/** Everything that the schema says against a value. */
export const schemaIssues = (value: unknown, suggest: Suggest): readonly Issue[] =>
  (CONFIG_FILE.safeParse(value, { error: (issue) => explain(issue, suggest) }).error?.issues ?? []).flatMap(withinUnion);

/** Of several ways to write a field, what is wrong with the one that was meant: the one of the right kind, if there is any. */
function withinUnion(issue: Issue): readonly Issue[] {
  if (issue.code !== 'invalid_union' || issue.discriminator !== undefined) return [issue];
  const meant = issue.errors.find((errors) =>
    errors.every(({ code, path }) => path.length > 0 || (code !== 'invalid_type' && code !== 'invalid_value')),
  );
  return meant?.map((error) => ({ ...error, path: [...issue.path, ...error.path] })) ?? [issue];
}

/** The same for people, with the place of each. */
export function problemsOf(issues: readonly Issue[], document: YamlDocument, suggest: Suggest): readonly Problem[] {
  return issues.flatMap((issue) => {
    const path = fieldPath(issue.path);
    if (issue.code === 'unrecognized_keys') {
      const known = issue.message.split(', ');
      return issue.keys.map((key) => unknownField([...path, key], document, known, suggest(key, known)));
    }
    const place = issue.code === 'invalid_key' ? document.placeOfKey(path) : document.placeOf(path);
    // At the top there is no field that could be left out.
    const message = path.length === 0 ? 'must be a mapping; begin it with version: 1' : issue.message;
    return [{ ...place, path, message }];
  });
}

/** Paths of zod may hold symbols; those of plain data never do. */
export const fieldPath = (path: readonly PropertyKey[]): FieldPath =>
  path.map((part) => (typeof part === 'number' ? part : String(part)));

function unknownField(path: FieldPath, document: YamlDocument, known: readonly string[], hint: string): Problem {
  const message = `is not a field here${hint === '' ? `; the fields are ${known.join(', ')}` : hint}`;
  return { ...document.placeOfKey(path), path, message };
}

/** What a message says where the schema itself has no words for it. Of a field that is not known, which fields are. */
function explain(issue: z.core.$ZodRawIssue, suggest: Suggest): string {
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.inst instanceof z.ZodObject ? Object.keys(issue.inst.shape).join(', ') : '';
    case 'invalid_type':
      return absent(issue.input) ?? `must be ${KINDS[issue.expected] ?? 'something else'}`;
    case 'invalid_value':
      return choiceOf(issue.input, issue.values, suggest);
    case 'invalid_union':
      return discriminatorMistake(issue, suggest);
    case 'invalid_key':
      return issue.issues[0]?.message ?? 'is not a valid name';
    case 'too_small':
      return issue.origin === 'array' ? 'must have at least one entry' : `must be ${issue.minimum} at least`;
    default:
      return 'is not valid here';
  }
}

const KINDS: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  boolean: 'true or false',
  number: 'a whole number',
  int: 'a whole number',
};

function absent(input: unknown): string | null {
  if (input === undefined) return 'is missing';
  return input === null ? 'is empty; write a value, or leave the field out' : null;
}

function choiceOf(input: unknown, values: readonly z.core.util.Primitive[], suggest: Suggest): string {
  const names = values.map(String);
  const choice = names.length === 1 ? `must be ${names.join()}` : `must be one of ${names.join(', ')}`;
  if (input === undefined || input === null) return `is ${input === null ? 'empty' : 'missing'}; it ${choice}`;
  return `${choice}${typeof input === 'string' ? suggest(input, names) : ''}`;
}

const Options = z.array(z.string());

function discriminatorMistake(
  { discriminator, input, ...issue }: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidUnion>,
  suggest: Suggest,
): string {
  const options = Options.safeParse('options' in issue ? issue.options : undefined);
  if (discriminator === undefined || !options.success) return 'is not valid here';
  const fields: object = typeof input === 'object' && input !== null ? input : {};
  const written = Object.entries(fields).find(([name]) => name === discriminator)?.[1] as unknown;
  return choiceOf(written, options.data, suggest);
}
