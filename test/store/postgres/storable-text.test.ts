import { describe, expect, it } from 'vitest';
import { storableJson, storableText } from '../../../src/store/postgres/storable-text.ts';

const cases: [string, string, string][] = [
  ['U+0000', 'a\0b\0', 'a\uFFFDb\uFFFD'],
  ['the first half of a pair', 'a\uD83D!', 'a\uFFFD!'],
  ['the second half of a pair', '\uDCA5', '\uFFFD'],
  ['a pair the wrong way round', '\uDCA5\uD83D', '\uFFFD\uFFFD'],
  ['a whole pair', '💥', '💥'],
  ['what reads like an escape', '\\u0000 \\ud83d', '\\u0000 \\ud83d'],
  ['an escape of an escape', '\\\\u0000', '\\\\u0000'],
  ['other control characters', '\u0001\u001f\u007f\n\t', '\u0001\u001f\u007f\n\t'],
  ['quotes and letters', `'"é\u0301ß`, `'"é\u0301ß`],
];

describe('text with', () => {
  it.each(cases)('%s is kept as far as Postgres can', (_, text, kept) => {
    expect(storableText(text)).toBe(kept);
    expect(JSON.parse(storableJson({ text, [text]: [text, 1, null, true, { deep: text }] }))).toEqual({
      text: kept,
      [kept]: [kept, 1, null, true, { deep: kept }],
    });
  });

  it('dates in JSON is what JSON makes of it', () => {
    expect(storableJson({ at: new Date(0), nothing: undefined, text: '\0' })).toBe(
      '{"at":"1970-01-01T00:00:00.000Z","text":"\uFFFD"}',
    );
  });
});
