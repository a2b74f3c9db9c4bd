import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CUT, shownText, shownTextWithin } from '../../src/notify/shown-text.ts';

describe('what is shown is what is there', () => {
  test.each([
    ['plain words', 'review pull request 7', 'review pull request 7'],
    ['other scripts', 'Zażółć gęślą jaźń – 日本語 – עברית', 'Zażółć gęślą jaźń – 日本語 – עברית'],
    ['an emoji', 'ship it 🚀', 'ship it 🚀'],
    ['line ends', 'a\nb\r\nc\rd\u2028e\u2029f', 'a ↵ b ↵ c ↵ d ↵ e ↵ f'],
    ['a tab', 'a\tb', 'a b'],
    ['control characters', '\u0000\u0007\u001b[31m\u007f\u0085', '\\u{0}\\u{7}\\u{1b}[31m\\u{7f}\\u{85}'],
    ['a direction override', 'invoice\u202Efdp.exe', 'invoice\\u{202e}fdp.exe'],
    ['isolates and marks', '\u2066\u2069\u200e\u200f\u061c', '\\u{2066}\\u{2069}\\u{200e}\\u{200f}\\u{61c}'],
    ['zero width', 'ad\u200bmin\u200d\u2060\ufeff\u00ad', 'ad\\u{200b}min\\u{200d}\\u{2060}\\u{feff}\\u{ad}'],
    ['fillers that show as nothing', 'a\u3164b\u115fc\ufe0fd', 'a\\u{3164}b\\u{115f}c\\u{fe0f}d'],
    ['tag characters', 'a\u{e0041}b', 'a\\u{e0041}b'],
    ['half a surrogate pair', 'a\ud800b', 'a\\u{d800}b'],
    ['private use', '\ue000', '\\u{e000}'],
  ])('%s', (_name, text, shown) => {
    expect(shownText(text)).toBe(shown);
  });
});

describe('what is too long is cut, and says so', () => {
  test.each([
    ['as long as allowed', 'abcdefghijkl', 12, 'abcdefghijkl'],
    ['one too many', 'abcdefghijklm', 12, `abcde${CUT}`],
    ['not within a character', '🚀🚀🚀🚀🚀🚀🚀', 12, `🚀🚀${CUT}`],
    ['not within what a character became', '\u202e\u202e\u202e', 18, `\\u{202e}${CUT}`],
  ])('%s', (_name, text, max, shown) => {
    expect(shownTextWithin(text, max)).toBe(shown);
  });
});

test('whatever it is given, it is one line of bounded length without anything unseen', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.integer({ min: 20, max: 200 }), (text, max) => {
      const shown = shownTextWithin(text, max);
      expect(shown.length).toBeLessThanOrEqual(max);
      expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      expect(shown.isWellFormed()).toBe(true);
    }),
  );
});
