import { pino } from 'pino';
import { BrokerError } from '../domain/errors.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

type Check = (value: unknown) => unknown;

const MAX_LENGTH = 300;
const isShortText = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_LENGTH;
const text: Check = (value) => (isShortText(value) ? value : undefined);
const number: Check = (value) => (typeof value === 'number' ? value : undefined);
const matching =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value) ? value : undefined;
const WORD = matching(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/);
// A rule of the configuration: its kind, and the name that an operator gave it. Too short, and too small, for a handle or a token.
const RULE = matching(/^[a-z_]{1,32}(?::[a-z0-9][a-z0-9._*-]{0,39})?$/);
// An id of ours, prefix and UUID: a token that was put where an id belongs is not one.
const ID = matching(/^[a-z]{2,4}_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);

/** All that may be logged, each with what it must look like. What is not listed here does not get out. */
const LOGGABLE = {
  request_id: matching(/^[A-Za-z0-9._-]{1,128}$/),
  transport: WORD,
  call: WORD,
  method: WORD,
  route: text,
  status: number,
  code: WORD,
  reason: WORD,
  rule: RULE,
  duration_ms: number,
  session_id: ID,
  grant_id: ID,
  approval_id: ID,
  tenant_id: matching(/^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,63}$/),
  loop: WORD,
  receiver: WORD,
  revision: matching(/^[0-9a-f]{7,64}$/),
  client: matching(/^[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9]{1,15})?$/),
  error: errorChain,
  address: text,
  issuer: text,
  signal: WORD,
  version: matching(/^[A-Za-z0-9.+-]{1,64}$/),
  count: number,
  problems: (value) => (Array.isArray(value) ? value.filter(isShortText) : undefined),
} as const satisfies Record<string, Check>;

type Field = keyof typeof LOGGABLE;
// A list is walked faster than an object, and this runs with every request.
const CHECKS = Object.entries(LOGGABLE) as readonly (readonly [Field, Check])[];

export type LogFields = { readonly [Field in keyof typeof LOGGABLE]?: unknown };
type Write = (fields: LogFields, message: string) => void;

/** Writes one line of JSON. Messages are constant strings of our own; whatever varies goes into a field. */
export type Log = Readonly<Record<LogLevel, Write>>;

export interface LogDestination {
  write(line: string): void;
}

/** Makes a log that lets through the fields of `LOGGABLE` and nothing else. Without a destination it writes to standard output. */
export function makeLogger(options: { level: LogLevel | 'silent'; destination?: LogDestination }): Log {
  const settings: pino.LoggerOptions = {
    level: options.level,
    base: null,
    messageKey: 'message',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  const logger = options.destination === undefined ? pino(settings) : pino(settings, options.destination);
  const writer =
    (level: LogLevel): Write =>
    (fields, message) => {
      if (logger.isLevelEnabled(level)) logger[level](loggable(fields), message);
    };
  return { debug: writer('debug'), info: writer('info'), warn: writer('warn'), error: writer('error') };
}

function loggable(fields: LogFields): Record<string, unknown> {
  const passed: Record<string, unknown> = {};
  for (const [field, check] of CHECKS) {
    if (!Object.hasOwn(fields, field)) continue;
    const value = fields[field];
    if (value === undefined || value === null) continue;
    const checked = check(value);
    if (checked !== undefined) passed[field] = checked;
  }
  return passed;
}

export interface LoggedError {
  type: string;
  code?: string;
  message?: string;
  frames: string[];
}

const MAX_CAUSES = 5;
const MAX_FRAMES = 12;
const TYPE_NAME = /^[A-Za-z_$][\w$]{0,63}$/;
const ERROR_CODE = /^[A-Za-z0-9_]{1,40}$/;
const FRAME = /^ {4}at (?:[\w$.<>[\]# ]{1,120} )?\(?(?:file:\/\/|node:|\/)[^()\s]{1,300}:\d+:\d+\)?$/;

/**
 * An error and its causes without their words: a foreign message may quote a secret. A BrokerError's message is ours and
 * goes to callers anyway.
 */
export function errorChain(error: unknown): LoggedError[] {
  const chain: LoggedError[] = [];
  for (let next = error; next !== undefined && next !== null && chain.length < MAX_CAUSES;) {
    chain.push(loggedError(next));
    next = next instanceof Error ? next.cause : undefined;
  }
  return chain;
}

function loggedError(error: unknown): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, frames: [] };
  const constructorName = error.constructor.name;
  const logged: LoggedError = { type: TYPE_NAME.test(constructorName) ? constructorName : 'Error', frames: framesOf(error) };
  if ('code' in error && typeof error.code === 'string' && ERROR_CODE.test(error.code)) logged.code = error.code;
  if (error instanceof BrokerError) logged.message = error.message;
  return logged;
}

// The message comes first in a stack and may have lines of its own, even ones that look like frames.
function framesOf(error: Error): string[] {
  const stack: unknown = error.stack;
  // Anybody may have put something else there.
  if (typeof stack !== 'string') return [];
  const messageAt = error.message === '' ? -1 : stack.indexOf(error.message);
  const frames = messageAt === -1 ? stack : stack.slice(messageAt + error.message.length);
  return frames
    .split('\n')
    .filter((line) => FRAME.test(line))
    .slice(0, MAX_FRAMES)
    .map((line) => line.slice('    at '.length));
}
