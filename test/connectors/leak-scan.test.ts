import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeLeakScanner } from '../../src/connectors/leak-scan.ts';
import { Secret } from '../../src/domain/secret.ts';

const TOKEN = 'ghs_16C7e42F292c6912E7710c838347Ae178B4a';
/** With all that the encodings treat in a way of their own. */
const ODD = 'a+b/c?d>e"f\\g%h~i=j&k<l';

const percent = (text: string): string => [...Buffer.from(text)].map((byte) => `%${hex(byte)}`).join('');
const hex = (byte: number): string => byte.toString(16).padStart(2, '0');
const unicode = (text: string): string => [...text].map((c) => `\\u00${hex(c.charCodeAt(0))}`).join('');
const inJson = (text: string): string => JSON.stringify(text).slice(1, -1);
const base64 = (pad: string) => (secret: string) => Buffer.from(`${pad}${secret}`).toString('base64');
const mime = (text: string, lineBreak: string): string => (text.match(/.{1,20}/g) ?? []).join(lineBreak);

const ENCODINGS: readonly [name: string, encode: (secret: string) => string][] = [
  ['raw', (secret) => secret],
  ['hex', (secret) => Buffer.from(secret).toString('hex')],
  ['HEX', (secret) => Buffer.from(secret).toString('hex').toUpperCase()],
  ['base64 from its first byte', base64('')],
  ['base64 one byte in', base64('x')],
  ['base64 two bytes in', base64('xy')],
  ['base64 inside a text', (secret) => Buffer.from(`token ${secret} and more`).toString('base64')],
  ['basic authorization', (secret) => Buffer.from(`x-access-token:${secret}`).toString('base64')],
  ['base64url', (secret) => Buffer.from(`xy${secret}z`).toString('base64url')],
  ['base64, percent-encoded', (secret) => encodeURIComponent(Buffer.from(`abc${secret}`).toString('base64'))],
  ['base64 in JSON that escapes slashes', (secret) => base64('x')(secret).replaceAll('/', '\\/')],
  ['base64 in lines', (secret) => mime(base64('x')(secret), '\n')],
  ['base64 in lines, in JSON', (secret) => mime(base64('x')(secret), '\\n')],
  ['base64 in lines of CRLF, in JSON', (secret) => mime(base64('x')(secret), '\\r\\n')],
  ['percent-encoded where it must be', encodeURIComponent],
  [
    'percent-encoded where it must be, small hex',
    (secret) => encodeURIComponent(secret).replace(/%../g, (c) => c.toLowerCase()),
  ],
  ['percent-encoded, small hex', percent],
  ['percent-encoded, big hex', (secret) => percent(secret).toUpperCase()],
  ['percent-encoded in part', (secret) => percent(secret.slice(0, 5)) + encodeURIComponent(secret.slice(5))],
  ['percent-encoded at the end', (secret) => encodeURIComponent(secret.slice(0, 15)) + percent(secret.slice(15))],
  ['in JSON', inJson],
  ['in JSON that escapes slashes', (secret) => inJson(secret).replaceAll('/', '\\/')],
  ['in JSON, all of it escaped', unicode],
  ['in JSON, all of it escaped, big hex', (secret) => unicode(secret).replace(/00../g, (c) => c.toUpperCase())],
  ['in JSON, partly escaped', (secret) => inJson(secret.slice(0, 3)) + unicode(secret.slice(3))],
];

/** What comes out, and how often something was found. */
function scanned(secret: string, chunks: readonly Uint8Array[]): { text: string; redactions: number } {
  const scan = makeLeakScanner(new Secret(secret))();
  const out = [...chunks.map((chunk) => Buffer.from(scan.push(Buffer.from(chunk)))), Buffer.from(scan.end())];
  return { text: Buffer.concat(out).toString('latin1'), redactions: scan.redactions };
}

/** What of the encoded secret stands there: its middle, since base64 mixes its ends with what is beside it. */
const coreOf = (encoded: string): string => encoded.slice(4, -4);

describe.each([
  ['a token', TOKEN],
  ['a token with odd characters', ODD],
])('%s is found and made unreadable', (_kind, secret) => {
  it.each(ENCODINGS)('%s, whole and broken at every place', (_name, encode) => {
    const encoded = encode(secret);
    const body = Buffer.from(`{"before": "${encoded}", "after": 1}`);
    const core = coreOf(encoded);
    const parts = Array.from({ length: core.length - 11 }, (_, at) => core.slice(at, at + 12));
    // The words around it in an encoded text are no secret.
    const secretParts = parts.filter((part) => isOfSecret(encode, secret, part));
    expect(secretParts.length).toBeGreaterThan(3);
    for (let border = 0; border <= body.length; border += 1) {
      const { text, redactions } = scanned(secret, [body.subarray(0, border), body.subarray(border)]);
      expect(redactions, `broken at ${border}`).toBe(1);
      expect(text).toHaveLength(body.length);
      expect(
        secretParts.filter((part) => text.includes(part)),
        `broken at ${border}`,
      ).toEqual([]);
      expect(text).toMatch(/^\{"before": ".*", "after": 1\}$/s);
    }
  });

  it.each(ENCODINGS)('%s, one byte at a time', (_name, encode) => {
    const body = Buffer.from(`[${encode(secret)}]`);
    const { text, redactions } = scanned(
      secret,
      [...body].map((byte) => Buffer.of(byte)),
    );
    expect(redactions).toBe(1);
    expect(text).toHaveLength(body.length);
    expect(text).toContain('*'.repeat(12));
  });
});

/** Whether a part of the encoded text changes with the secret. */
function isOfSecret(encode: (secret: string) => string, secret: string, part: string): boolean {
  const other = [...secret].map((character) => (character === 'z' ? 'y' : 'z')).join('');
  return !encode(other).includes(part);
}

const secrets = fc.string({
  minLength: 20,
  maxLength: 60,
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
});

it('whatever a secret is, however it is written, wherever it stands and breaks, nothing of it is left', () => {
  fc.assert(
    fc.property(
      secrets,
      fc.constantFrom(...ENCODINGS.map(([, encode]) => encode)),
      fc.uint8Array({ maxLength: 80 }),
      fc.uint8Array({ maxLength: 80 }),
      fc.array(fc.nat({ max: 400 }), { maxLength: 6 }),
      (secret, encode, before, after, borders) => {
        expect(decodings(encode(secret)).some((decoded) => decoded.includes(secret))).toBe(true);
        const body = Buffer.concat([before, Buffer.from(encode(secret)), after]);
        const places = [0, ...borders.map((border) => Math.min(border, body.length)).sort((a, b) => a - b), body.length];
        const chunks = places.slice(1).map((place, index) => body.subarray(places[index], place));
        const { text, redactions } = scanned(secret, chunks);
        expect(redactions).toBeGreaterThanOrEqual(1);
        expect(text).toHaveLength(body.length);
        expect(text).not.toContain(secret);
        expect(decodings(text).some((decoded) => decoded.includes(secret))).toBe(false);
      },
    ),
    { numRuns: 500 },
  );
});

/** What a reader might make of a text. */
function decodings(text: string): string[] {
  const character = (_all: string, digits: string): string => String.fromCharCode(Number.parseInt(digits, 16));
  const fromPercent = text.replace(/%([0-9a-fA-F]{2})/g, character);
  const fromJson = text.replace(/\\(?:u00([0-9a-fA-F]{2})|(["\\/]))/g, (all, digits?: string, plain?: string) =>
    digits === undefined ? (plain ?? all) : character(all, digits),
  );
  const fromBase64 = [text, fromPercent, fromJson].flatMap((encoded) => {
    const joined = encoded.replace(/\\r|\\n|[\r\n\\]/g, '');
    return [0, 1, 2, 3].map((start) => Buffer.from(joined.slice(start), 'base64').toString('latin1'));
  });
  return [text, fromPercent, fromJson, Buffer.from(text, 'hex').toString('latin1'), ...fromBase64];
}

describe('what holds no credential', () => {
  it.each([
    ['nothing', ''],
    ['its beginning alone', TOKEN.slice(0, -1)],
    ['another of its kind', TOKEN.replace('16C7', '16C8')],
    ['its beginning again and again', TOKEN.slice(0, 12).repeat(40)],
    ['text of every byte', Buffer.from(Array.from({ length: 1024 }, (_, index) => index % 256)).toString('latin1')],
  ])('%s passes as it is', (_name, text) => {
    const body = Buffer.from(text, 'latin1');
    for (const size of [1, 7, 4096]) {
      const chunks = Array.from({ length: Math.ceil(body.length / size) }, (_, index) =>
        body.subarray(index * size, (index + 1) * size),
      );
      expect(scanned(TOKEN, chunks)).toEqual({ text, redactions: 0 });
    }
  });

  it('whatever it is', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 5 }), (chunks) => {
        const { text, redactions } = scanned(TOKEN, chunks);
        expect(redactions).toBe(0);
        expect(text).toBe(Buffer.concat(chunks).toString('latin1'));
      }),
    );
  });
});

it('each time that it stands there counts', () => {
  const { text, redactions } = scanned(TOKEN, [Buffer.from(`${TOKEN}${TOKEN} ${percent(TOKEN)}`)]);
  expect(redactions).toBe(3);
  expect(text).toMatch(/^\*{80} \*{120}$/);
});

it('what is held back is no more than the longest way to write it', () => {
  const scan = makeLeakScanner(new Secret(TOKEN))();
  const clean = scan.push(Buffer.alloc(100_000, ' '));
  expect(clean.byteLength).toBeGreaterThan(99_000);
  expect(clean.byteLength + scan.end().byteLength).toBe(100_000);
});

it('a token as long as GitHub makes them is found too', () => {
  const long = `ghs_12345_${'eyJhbGciOiJSUzI1NiJ9x'.repeat(24)}`;
  const body = Buffer.from(JSON.stringify({ echo: Buffer.from(`Bearer ${long}`).toString('base64') }));
  const { text, redactions } = scanned(long, [body.subarray(0, 300), body.subarray(300)]);
  expect(redactions).toBe(1);
  expect(text).toMatch(/^\{"echo":"[\w+/]{10,14}\*{600,}[\w+/=]{0,4}"\}$/);
});
