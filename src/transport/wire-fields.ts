import { z } from 'zod';

const MAX_NAME = 200;
const MAX_TOKEN = 16 * 1024;
const MAX_TEXT = 1000;
const MAX_REFERENCE = 300;
const MAX_TOOLS = 32;
const MAX_SELECTORS = 32;
const MAX_TTL_SECONDS = 86_400;
// Far deeper than any GitHub parameter, far shallower than what exhausts a stack.
const MAX_PARAMS_DEPTH = 16;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:@/-]*$/;
const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/;

/** proto3 cannot tell an empty string from none, so neither does JSON here; null is what protobuf's JSON mapping takes for none. */
const REQUIRED = 'is required';
const mustBe =
  (what: string) =>
  ({ input }: { input?: unknown }): string =>
    input === undefined || input === null ? REQUIRED : `must be ${what}`;

const requiredText = (max: number) =>
  z
    .string({ error: mustBe('a string') })
    .min(1, { error: REQUIRED, abort: true })
    .max(max, `must be ${max} characters at most`);

const orEmpty = (value: string | null | undefined): string => value ?? '';
const isPlainText = (value: string): boolean => value.isWellFormed() && !CONTROL.test(value);

/** A name or id: 1 to 200 characters of a set that is safe in a log, a path and a query. */
export const name = requiredText(MAX_NAME).regex(
  NAME,
  'must start with a letter or digit, and hold only letters, digits and . _ : @ / -',
);

/** Something that may be left out: an empty string then. */
const orNothing = (field: z.ZodString) =>
  z
    .union([z.literal(''), field])
    .nullish()
    .transform(orEmpty);

export const optionalName = orNothing(name);

/** A name that becomes an id of the domain, now that it has been checked. */
export const idOf = <Id extends string>() => name.transform((value) => value as Id);

/** A token or handle of at most 16 KiB. Whether it is valid is for the broker to say. */
export const token = requiredText(MAX_TOKEN).regex(VISIBLE_ASCII, 'must hold only visible ASCII characters');

/** A token that may be left out: null then. */
export const optionalToken = z
  .string({ error: 'must be a string' })
  .max(MAX_TOKEN, `must be ${MAX_TOKEN} characters at most`)
  .regex(/^[\x21-\x7e]*$/, 'must hold only visible ASCII characters')
  .nullish()
  .transform((value) => (value === '' ? null : (value ?? null)));

export const reference = requiredText(MAX_REFERENCE).regex(VISIBLE_ASCII, 'must hold only visible ASCII characters');

export const optionalReference = orNothing(reference);

/** Free text that may be left out. */
export const text = z
  .string({ error: 'must be a string' })
  .max(MAX_TEXT, `must be ${MAX_TEXT} characters at most`)
  .refine(isPlainText, 'must hold no control characters')
  .nullish()
  .transform(orEmpty);

export const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, {
    error: ({ input }) =>
      input === undefined || input === null || input === '' ? REQUIRED : `must be one of ${values.join(', ')}`,
  });

export const toolNames = z
  .array(name, { error: mustBe('a list') })
  .min(1, REQUIRED)
  .max(MAX_TOOLS, `must name ${MAX_TOOLS} tools at most`)
  .refine((tools) => new Set(tools).size === tools.length, 'must not name a tool twice');

const TTL_MISTAKE = `must be a whole number from 0 to ${MAX_TTL_SECONDS}`;

/** Whole seconds up to a day, as a number or, as protobuf writes an int64, in digits; null for none or nought. */
export const ttlSeconds = z
  .union([
    z.int(TTL_MISTAKE).min(0, TTL_MISTAKE).max(MAX_TTL_SECONDS, TTL_MISTAKE),
    z
      .string(TTL_MISTAKE)
      .regex(/^[0-9]{0,5}$/, TTL_MISTAKE)
      .refine((digits) => Number(digits) <= MAX_TTL_SECONDS, TTL_MISTAKE),
  ])
  .nullish()
  .transform((value) => Number(value ?? 0) || null);

/** A JSON object of no fixed shape, nested 16 deep at most. */
export const params = z
  .record(z.string(), z.unknown(), { error: 'must be an object' })
  .refine((value) => isShallow(value), `must be nested ${MAX_PARAMS_DEPTH} deep at most`)
  .nullish()
  .transform((value) => value ?? {});

export const selectors = z
  .record(name, requiredText(MAX_TEXT).refine(isPlainText, 'must hold no control characters'), {
    error: 'must be an object',
  })
  .refine((value) => Object.keys(value).length <= MAX_SELECTORS, `must hold ${MAX_SELECTORS} entries at most`)
  .nullish()
  .transform((value) => value ?? {});

function isShallow(root: unknown): boolean {
  const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
  let level: object[] = isObject(root) ? [root] : [];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth >= MAX_PARAMS_DEPTH) return false;
    level = level.flatMap((value) => Object.values(value).filter(isObject));
  }
  return true;
}

const MAX_MISTAKES = 20;
const MAX_QUOTED_KEY = 64;

/** A field's name as a caller wrote it, cut to what fits a message. */
export const quotedKey = (key: string): string => key.slice(0, MAX_QUOTED_KEY).replaceAll(/[^\x20-\x7e]/g, '?');

/** Every mistake of a body in one line: `field.path: what; other: what`. Names fields, never quotes values. */
export function describeMistakes(error: z.ZodError): string {
  const mistakes = error.issues.flatMap((issue) => {
    const path = issue.path.map((part) => quotedKey(String(part)));
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => `${[...path, quotedKey(key)].join('.')}: unknown field`);
    }
    return [path.length === 0 ? 'body: must be a JSON object' : `${path.join('.')}: ${mistakeOf(issue)}`];
  });
  const unlisted = mistakes.length - MAX_MISTAKES;
  return mistakes.slice(0, MAX_MISTAKES).join('; ') + (unlisted > 0 ? `; and ${unlisted} more` : '');
}

// A map's key carries its own mistake one level down, and so does the last way of several to write a field.
function mistakeOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? 'is not a valid name';
  if (issue.code === 'invalid_union') return issue.errors.at(-1)?.[0]?.message ?? issue.message;
  return issue.message;
}
