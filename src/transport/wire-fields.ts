import { z } from 'zod';

const MAX_NAME = 200;
const MAX_TOKEN = 16 * 1024;
const MAX_TEXT = 1000;
const MAX_REFERENCE = 300;
const MAX_PUBLIC_KEY = 4096;
const MAX_TOOLS = 32;
const MAX_ENTRIES = 32;
const MAX_TTL_SECONDS = 86_400;
/** Short enough for common proxies, which give up after a minute. */
export const MAX_WAIT_SECONDS = 30;
const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 200;
const MAX_PAGE_TOKEN = 1000;
const MAX_PATTERNS = 100;
// Far deeper than any GitHub parameter, far shallower than what exhausts a stack.
export const MAX_PARAMS_DEPTH = 16;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:@/-]*$/;
const NAME_PATTERN = /^(?:[A-Za-z0-9][A-Za-z0-9._:@/-]*)?\*?$/;
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
const isPlainText = (value: string): boolean => !CONTROL.test(value);

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

const orUndefined = <Value extends string>(value: Value | null | undefined): Exclude<Value, ''> | undefined =>
  value === '' || value === null || value === undefined ? undefined : (value as Exclude<Value, ''>);

/** A name that becomes an id of the domain, now that it has been checked. */
export const idOf = <Id extends string>() => name.transform((value) => value as Id);

/** The same for one that may be left out: undefined then. */
export const optionalIdOf = <Id extends string>() => optionalName.transform((value) => orUndefined(value as Id));

/** SHA-256 in hexadecimal digits, as we write it. */
const sha256 = requiredText(64).regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits, the letters small');
export const hashOf = <Hash extends string>() => sha256.transform((value) => value as Hash);
export const optionalHashOf = <Hash extends string>() => orNothing(sha256).transform((value) => orUndefined(value as Hash));

/** A token or handle of at most 16 KiB. Whether it is valid is for the broker to say. */
export const token = requiredText(MAX_TOKEN).regex(VISIBLE_ASCII, 'must hold only visible ASCII characters');

/** A token that may be left out: null then. */
export const optionalToken = z
  .string({ error: 'must be a string' })
  .max(MAX_TOKEN, `must be ${MAX_TOKEN} characters at most`)
  .regex(/^[\x21-\x7e]*$/, 'must hold only visible ASCII characters')
  .nullish()
  .transform((value) => (value === '' ? null : (value ?? null)));

/** A public key in whatever text it is written, over several lines too; null when it is left out. */
export const optionalPublicKey = z
  .string({ error: 'must be a string' })
  .max(MAX_PUBLIC_KEY, `must be ${MAX_PUBLIC_KEY} characters at most`)
  .regex(/^[\t\r\n\x20-\x7e]*$/, 'must hold only ASCII characters')
  .nullish()
  .transform((value) => (value === '' ? null : (value ?? null)));

export const reference = requiredText(MAX_REFERENCE).regex(VISIBLE_ASCII, 'must hold only visible ASCII characters');

export const optionalReference = orNothing(reference);

/** Free text that must be there. */
export const requiredWords = requiredText(MAX_TEXT).refine(isPlainText, 'must hold no control characters');

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

/** One of a set, or nothing: undefined then. */
export const optionalOneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z
    .union([z.literal(''), oneOf(values)])
    .nullish()
    .transform(orUndefined);

export const toolNames = z
  .array(name, { error: mustBe('a list') })
  .min(1, REQUIRED)
  .max(MAX_TOOLS, `must name ${MAX_TOOLS} tools at most`)
  .refine((tools) => new Set(tools).size === tools.length, 'must not name a tool twice');

/** A whole number from 0 up, as a number or, as a query and protobuf's int64 have it, in digits; 0 for none. */
function upTo(max: number) {
  const mistake = `must be a whole number from 0 to ${max}`;
  return z
    .union([
      z.int(mistake).min(0, mistake).max(max, mistake),
      z
        .string(mistake)
        .regex(/^[0-9]{0,5}$/, { error: mistake, abort: true })
        .refine((digits) => Number(digits) <= max, mistake),
    ])
    .nullish()
    .transform((value) => Number(value ?? 0));
}

/** Whole seconds up to a day; null for none or nought. */
export const ttlSeconds = upTo(MAX_TTL_SECONDS).transform((seconds) => seconds || null);

/** How long a caller would wait for people, in seconds. */
export const waitSeconds = upTo(MAX_WAIT_SECONDS);

/** Rows of a page. */
export const pageSize = upTo(MAX_PAGE_SIZE).transform((rows) => rows || DEFAULT_PAGE_SIZE);

/** Where a page starts, in words of the store's own; null for the first. */
export const pageToken = z
  .string({ error: 'must be a string' })
  .max(MAX_PAGE_TOKEN, `must be ${MAX_PAGE_TOKEN} characters at most`)
  .regex(/^[\x21-\x7e]*$/, 'must hold only visible ASCII characters')
  .nullish()
  .transform((value) => (value === '' ? null : (value ?? null)));

/** Capabilities, each by its name or by a prefix and a trailing `*`. */
export const capabilityPatterns = z
  .array(requiredText(MAX_NAME).regex(NAME_PATTERN, 'must be a name, or a prefix and *'), { error: 'must be a list' })
  .max(MAX_PATTERNS, `must name ${MAX_PATTERNS} at most`)
  .nullish()
  .transform((value) => value ?? []);

/** Names of resources, as they follow the prefix of a reference. */
export const resourceNames = z
  .array(reference, { error: 'must be a list' })
  .max(MAX_PATTERNS, `must name ${MAX_PATTERNS} at most`)
  .nullish()
  .transform((value) => value ?? []);

/** An object that must be there. */
export const requiredObject = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, { error: mustBe('an object') });

export const flag = z
  .boolean({ error: 'must be true or false' })
  .nullish()
  .transform((value) => value ?? false);

/** A JSON object of no fixed shape, nested 16 deep at most. */
export const params = z
  .record(z.string(), z.unknown(), { error: 'must be an object' })
  .refine((value) => isShallow(value), `must be nested ${MAX_PARAMS_DEPTH} deep at most`)
  .nullish()
  .transform((value) => value ?? {});

/** Short texts by name. */
export const textsByName = z
  .record(name, requiredWords, { error: 'must be an object' })
  .refine((value) => Object.keys(value).length <= MAX_ENTRIES, `must hold ${MAX_ENTRIES} entries at most`)
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

/** Where a field stands: `attestation.token`, `tool_context.1`; empty for the request itself. */
export const quotedPath = (path: readonly PropertyKey[]): string => path.map((part) => quotedKey(String(part))).join('.');

/** Every mistake of a body in one line: `field.path: what; other: what`. Names fields, never quotes values. */
export function describeMistakes(error: z.ZodError): string {
  const mistakes = error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => `${quotedPath([...issue.path, key])}: unknown field`);
    }
    return [issue.path.length === 0 ? 'body: must be a JSON object' : `${quotedPath(issue.path)}: ${mistakeOf(issue)}`];
  });
  return inOneLine(mistakes);
}

/** The first of many mistakes, and how many more there are. */
export function inOneLine(mistakes: readonly string[]): string {
  const unlisted = mistakes.length - MAX_MISTAKES;
  return mistakes.slice(0, MAX_MISTAKES).join('; ') + (unlisted > 0 ? `; and ${unlisted} more` : '');
}

// A map's key carries its own mistake one level down, and so does the last way of several to write a field.
function mistakeOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? 'is not a valid name';
  if (issue.code === 'invalid_union') return issue.errors.at(-1)?.[0]?.message ?? issue.message;
  return issue.message;
}
