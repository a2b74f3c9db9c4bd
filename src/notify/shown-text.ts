/** Control and format characters, surrogates, what Unicode has not assigned, line ends, and whatever else shows as nothing. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const LINE_END = /\r\n|[\n\r\u2028\u2029]/g;
export const CUT = '… [cut]';

/**
 * Somebody's words, safe to be put before a person who decides by them (Unicode Technical Report 36): one line, in which nothing is
 * invisible or turns the direction of what follows. A line's end shows as an arrow, other such characters as their number.
 */
export const shownText = (text: string): string => mapCharacters(text.replaceAll(LINE_END, ' ↵ '), visible, Infinity);

/** The same, where it must fit: in characters of the outcome after `encode`, a cut being marked. */
export const shownTextWithin = (text: string, maxLength: number, encode: (character: string) => string = itself): string =>
  mapCharacters(text.replaceAll(LINE_END, ' ↵ '), (character) => encode(visible(character)), maxLength);

const itself = (character: string): string => character;

function visible(character: string): string {
  if (character === '\t') return ' ';
  return UNSEEN.test(character) ? `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}` : character;
}

function mapCharacters(text: string, map: (character: string) => string, maxLength: number): string {
  let shown = '';
  let whole = '';
  for (const character of text) {
    shown += map(character);
    if (shown.length > maxLength) return whole + CUT;
    // What still leaves room for the mark, should the rest not fit.
    if (shown.length <= maxLength - CUT.length) whole = shown;
  }
  return shown;
}
