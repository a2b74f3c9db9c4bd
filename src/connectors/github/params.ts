import { z } from 'zod';
import { forbidden, invalidRequest } from '../../domain/errors.ts';
import { isSameName, type RepositoryName } from './repository-name.ts';

type ParamValue = string | number | undefined | readonly string[] | Readonly<Record<string, string | undefined>>;

/** Checked parameters, under the names GitHub gives them. */
export type CallParams = Readonly<Record<string, ParamValue>>;

type ParamSchemas = Readonly<Record<string, z.ZodType<ParamValue>>>;

const MAX_TEXT_LENGTH = 1000;
const MAX_MISTAKES_LISTED = 10;
const PLAIN_KEY = /^[A-Za-z0-9_.-]{1,64}$/;

/**
 * A whole number from 1 to `max`. Decimal text is taken too: google.protobuf.Struct has no integers, so some clients send
 * numbers as text.
 */
function wholeNumber(max: number, rule: string) {
  return z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^[1-9][0-9]*$/)
          .transform(Number),
      ],
      { error: rule },
    )
    .refine((value) => Number.isSafeInteger(value) && value >= 1 && value <= max, rule);
}

/** Text, its length in UTF-16 units. A lone surrogate cannot be percent-encoded. */
export function text(rule: string, maxLength = MAX_TEXT_LENGTH) {
  return z.string(rule).refine((value) => value.length >= 1 && value.length <= maxLength && value.isWellFormed(), rule);
}

const name = z.string('must be text').optional();
const repository = { owner: name, repo: name };

export const pullNumber = wholeNumber(Number.MAX_SAFE_INTEGER, 'must be a positive whole number');

/** https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api */
export const pagination = {
  page: wholeNumber(Number.MAX_SAFE_INTEGER, 'must be a positive whole number').optional(),
  per_page: wholeNumber(100, 'must be a whole number from 1 to 100').optional(),
};

export const time = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-01-02T03:04:05Z' });

/** https://docs.github.com/rest/issues/issues#list-repository-issues */
export const issueFilters = {
  state: z.enum(['open', 'closed', 'all'], 'must be open, closed or all').optional(),
  labels: text('must be label names separated by commas').optional(),
  sort: z.enum(['created', 'updated', 'comments'], 'must be created, updated or comments').optional(),
  direction: z.enum(['asc', 'desc'], 'must be asc or desc').optional(),
  since: time.optional(),
};

/**
 * Makes the parser of an operation's params. `owner` and `repo` are always accepted and never sent: the grant names the
 * repository, and they may only repeat it.
 *
 * The parser throws `invalid_request` that lists every mistake, and `forbidden` (`resource_outside_grant`) when `owner` or
 * `repo` names another repository than the grant.
 */
export function paramsParser(operation: string, schemas: ParamSchemas) {
  const schema = z.strictObject({ ...schemas, ...repository });
  const takes = Object.keys(schemas).join(', ') || 'no parameters of its own';

  return (params: Readonly<Record<string, unknown>>, granted: RepositoryName): CallParams => {
    const parsed = schema.safeParse(params);
    if (!parsed.success) throw invalidRequest(listMistakes(parsed.error.issues, `${operation} takes ${takes}`));
    const { owner, repo, ...query } = parsed.data;
    for (const [key, given, expected] of [['owner', owner, granted.owner] as const, ['repo', repo, granted.repo] as const]) {
      if (given !== undefined && !isSameName(given, expected)) {
        throw forbidden('resource_outside_grant', `params.${key}: the grant is for ${granted.owner}/${granted.repo} alone`, {
          rule: 'grant',
        });
      }
    }
    return query;
  };
}

function listMistakes(issues: readonly z.core.$ZodIssue[], help: string): string {
  const mistakes = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => `params.${printableKey(key)}: unknown parameter; ${help}`)
      : [`params.${issue.path.join('.')}: ${issue.message}`],
  );
  const left = mistakes.length - MAX_MISTAKES_LISTED;
  const listed = mistakes.slice(0, MAX_MISTAKES_LISTED).join('; ');
  return left > 0 ? `${listed}; and ${left} more` : listed;
}

function printableKey(key: string): string {
  return PLAIN_KEY.test(key) ? key : JSON.stringify(key.slice(0, 64));
}
