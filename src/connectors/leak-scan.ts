import type { Secret } from '../domain/secret.ts';

/** Looks through one body as it arrives, and makes unreadable what it finds. Not for use after `end`. */
export interface LeakScan {
  /** Takes the next bytes, which it may change, and answers with those that are clean for sure: fewer or more than came in, none at first. */
  push(chunk: Uint8Array): Uint8Array;
  /** What was still held back. */
  end(): Uint8Array;
  /** How often the credential was found so far. */
  readonly redactions: number;
}

/** Patterns of one character: as it is, and in every way that it may be written. */
interface Character {
  plain: string;
  any: string;
}

/** How a credential may be written. */
interface Form {
  characters: readonly Character[];
  /** All of it, tried where the beginning was found. */
  whole: RegExp;
}

interface LeakPatterns {
  /** Find where a form may begin; the first is three times as fast and knows no escapes. */
  plainBeginnings: RegExp;
  anyBeginnings: RegExp;
  forms: readonly Form[];
  maxBytes: number;
}

const ASTERISK = '*'.charCodeAt(0);
const BEGINNING_LENGTH = 8;
/** What is left of a short credential in base64 or hex stands for nothing: it would be found everywhere. */
const MIN_ENCODED_LENGTH = 8;
/** One character as `\u0041`, and a line break before it as `\r\n` in JSON. */
const MAX_BYTES_OF_CHARACTER = 6 + 4;
const ESCAPES = /%|\\u00/;

/**
 * Makes scans for one credential. They find it raw, in hex, in base64 and base64url at any place of a longer text (RFC 4648; also broken
 * into lines), each of them also with any of its characters percent-encoded (RFC 3986 section 2.1) or escaped as in JSON (RFC 8259
 * section 7), and across the borders of chunks. Each byte of what is found becomes an asterisk, so that no length changes and JSON
 * stays JSON.
 *
 * It guards against an upstream that echoes. One that wants to give the credential away can write it in ways that nobody foresees.
 */
export function makeLeakScanner(secret: Secret): () => LeakScan {
  const patterns = patternsOf(secret.reveal());
  return () => new Scan(patterns);
}

class Scan implements LeakScan {
  readonly #patterns: LeakPatterns;
  #held: Buffer = Buffer.alloc(0);
  #redactions = 0;

  constructor(patterns: LeakPatterns) {
    this.#patterns = patterns;
  }

  get redactions(): number {
    return this.#redactions;
  }

  push(chunk: Uint8Array): Uint8Array {
    const arrived = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const bytes = this.#held.length === 0 ? arrived : Buffer.concat([this.#held, arrived]);
    this.#redact(bytes);
    // What begins after this may not be all there yet.
    const clean = Math.max(bytes.length - (this.#patterns.maxBytes - 1), 0);
    this.#held = bytes.subarray(clean);
    return bytes.subarray(0, clean);
  }

  end(): Uint8Array {
    return this.#held;
  }

  #redact(bytes: Buffer): void {
    const { plainBeginnings, anyBeginnings, forms } = this.#patterns;
    // Each byte is one character, whatever the text's encoding is.
    const text = bytes.toString('latin1');
    const beginnings = ESCAPES.test(text) ? anyBeginnings : plainBeginnings;
    beginnings.lastIndex = 0;
    for (let found = beginnings.exec(text); found !== null; found = beginnings.exec(text)) {
      const start = found.index;
      const end = Math.max(...forms.map(({ whole }) => endOfMatch(whole, text, start)));
      if (end > start) {
        bytes.fill(ASTERISK, start, end);
        this.#redactions += 1;
      }
      beginnings.lastIndex = Math.max(end, start + 1);
    }
  }
}

/** Where what begins at `start` ends; -1 when it does not begin there. */
function endOfMatch(whole: RegExp, text: string, start: number): number {
  whole.lastIndex = start;
  return whole.test(text) ? whole.lastIndex : -1;
}

function patternsOf(secret: string): LeakPatterns {
  const bytes = Buffer.from(secret);
  const encoded = [hexOf(bytes), ...base64Of(bytes)].filter((characters) => characters.length >= MIN_ENCODED_LENGTH);
  const forms = [Array.from(bytes.toString('latin1'), spelled), ...encoded].map(formOf);
  return {
    plainBeginnings: beginningsOf(forms, ({ plain }) => plain),
    anyBeginnings: beginningsOf(forms, ({ any }) => any),
    forms,
    maxBytes: Math.max(...forms.map(({ characters }) => characters.length)) * MAX_BYTES_OF_CHARACTER,
  };
}

const formOf = (characters: readonly Character[]): Form => ({
  characters,
  whole: new RegExp(characters.map(({ any }) => any).join(''), 'y'),
});

function beginningsOf(forms: readonly Form[], patternOf: (character: Character) => string): RegExp {
  const beginnings = forms.map(({ characters }) => characters.slice(0, BEGINNING_LENGTH).map(patternOf).join(''));
  return new RegExp(beginnings.join('|'), 'g');
}

function hexOf(bytes: Buffer): Character[] {
  return Array.from(bytes.toString('hex')).map((digit) => ({ plain: anyCase(digit), any: anyCase(digit) }));
}

/** Lines of base64 end somewhere, and in JSON the end is written out. */
const LINE_BREAK = '(?:\\r?\\n|(?:\\\\r)?\\\\n)?';

/**
 * What the credential makes certain of the base64 of a longer text, for each place at which it may begin there: the characters at
 * both ends also depend on its neighbours.
 */
function base64Of(bytes: Buffer): Character[][] {
  return [0, 1, 2].map((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes]);
    const certain = padded.toString('base64url').slice(Math.ceil((before * 8) / 6), Math.floor((padded.length * 8) / 6));
    return Array.from(certain).map((character, index) => {
      const { plain, any } = spelledInBase64(character);
      return index === 0 ? { plain, any } : { plain: LINE_BREAK + plain, any: LINE_BREAK + any };
    });
  });
}

function spelledInBase64(character: string): Character {
  if (character === '-') return eitherOf(spelled('-'), spelled('+'));
  if (character === '_') return eitherOf(spelled('_'), spelled('/'));
  return spelled(character);
}

const eitherOf = (one: Character, other: Character): Character => ({
  plain: `(?:${one.plain}|${other.plain})`,
  any: `(?:${one.any}|${other.any})`,
});

/** A character of one byte as it is, percent-encoded, or escaped as in JSON. */
function spelled(character: string): Character {
  const digits = (character.codePointAt(0) ?? 0).toString(16).padStart(2, '0');
  const plain = '"\\/'.includes(character) ? `\\\\?\\x${digits}` : `\\x${digits}`;
  const hex = Array.from(digits, anyCase).join('');
  return { plain, any: `(?:${plain}|%${hex}|\\\\u00${hex})` };
}

const anyCase = (digit: string): string => (/[a-f]/.test(digit) ? `[${digit}${digit.toUpperCase()}]` : digit);
