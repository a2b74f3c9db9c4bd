import { describe, expect, test } from 'vitest';
import { parseYaml } from '../../src/bootstrap/config-file/yaml-document.ts';
import { mistakesOf, SAMPLE } from './config-file-sample.ts';

const ALIASES = 'anchors and aliases are not read; write the value out where it is needed';
const TAGS = 'tags are not read; leave the tag out, and put text in quotes';

/** `LINE:COLUMN: message` of each problem. */
const told = (text: string): readonly string[] =>
  parseYaml(text).problems.map(({ line, column, message }) => `${line}:${column}: ${message}`);

test('plain YAML 1.2 is read', () => {
  const { document, problems } = parseYaml('a: yes\nb: 0x10\nc: 017\nd: 1e2\ne: ~\nf: "\\u00e9"\ng: |\n  x\n  y\n');
  expect(problems).toEqual([]);
  expect(document?.value).toEqual({ a: 'yes', b: 16, c: 17, d: 100, e: null, f: 'é', g: 'x\ny\n' });
});

describe('YAML that is more, or less, than plain data is refused', () => {
  test.each<[name: string, text: string, told: string[]]>([
    ['an anchor', 'a: &x 1', [`1:7: ${ALIASES}`]],
    ['an alias', 'a: &x 1\nb: *x', [`1:7: ${ALIASES}`, `2:4: ${ALIASES}`]],
    ['an alias to nothing', 'a: *x', [`1:4: ${ALIASES}`]],
    ['an anchor on a key', '&x a: 1', [`1:4: ${ALIASES}`]],
    ['an alias inside of itself', 'a: &a [*a]', [`1:7: ${ALIASES}`, `1:8: ${ALIASES}`]],
    ['a merge key', 'a:\n  <<: { b: 1 }', ['2:3: merge keys are not read; write the fields out']],
    [
      'a merge of an alias',
      'a: &a {b: 1}\nc: {<<: *a}',
      [`1:7: ${ALIASES}`, '2:5: merge keys are not read; write the fields out', `2:9: ${ALIASES}`],
    ],
    ['a tag of our own', 'a: !secret x', [`1:12: ${TAGS}`]],
    ['a tag that makes code elsewhere', 'a: !!js/function x', [`1:18: ${TAGS}`]],
    ['a tag of the core schema', 'a: !!str 1', [`1:10: ${TAGS}`]],
    ['a tagged mapping', '!!map\na: 1', [`2:1: ${TAGS}`]],
    ['a binary', 'a: !!binary aGk=', [`1:13: ${TAGS}`]],
    ['YAML 1.1', '%YAML 1.1\n---\na: yes', ['1:1: directives are not read; the file is YAML 1.2']],
    ['a tag directive', '%TAG ! tag:x,2000:\n---\na: 1', ['1:1: directives are not read; the file is YAML 1.2']],
    ['two documents', 'a: 1\n---\nb: 2', ['2:1: begins a second document; the file must hold one']],
    ['a document after an end', 'a: 1\n...\nb: 2', ['3:1: begins a second document; the file must hold one']],
    ['a key twice', 'a: 1\nb: 2\na: 3', ['3:1: is written twice in the same mapping; keep one']],
    ['a key twice, once in quotes', '{a: 1, "a": 2}', ['1:8: is written twice in the same mapping; keep one']],
    ['a number twice as a key', '1: a\n"1": b', ['2:1: is written twice in the same mapping; keep one']],
    ['a key that is a list', '? [a]\n: 1', ['1:3: must be plain text, as every key']],
    ['the key that objects inherit by', '__proto__: { a: 1 }', ['1:1: cannot be the name of a field']],
    ['a tab for indentation', 'a:\n\tb: 1', ['2:1: is indented by a tab; use spaces']],
    [
      'a colon too many',
      'a: b: c',
      ['1:4: has a second colon; put the value in quotes, or write the mapping on lines of its own'],
    ],
    [
      'a value that begins with @',
      'a: @x',
      ['1:4: begins with a character that has a meaning in YAML; put the value in quotes'],
    ],
    ['an escape that is none', 'a: "\\q"', ['1:5: has an unknown escape; in double quotes a backslash is written twice']],
  ])('%s', (_name, text, expected) => {
    expect(told(text)).toEqual(expected);
  });

  test.each([
    ['an open quote', 'a: "x\n'],
    ['an open bracket', 'a: [1, 2\n'],
    ['a missing colon', 'a\nb: 1'],
    ['too little indentation', 'a:\n  - b\n c: 1'],
    ['a stray bracket', 'a: ]'],
  ])('%s', (_name, text) => {
    expect(told(text)).not.toEqual([]);
    expect(parseYaml(text).document).toBeNull();
  });
});

describe('characters that cannot be seen are refused with their place', () => {
  test.each([
    ['a NUL byte', '\u0000'],
    ['an escape sequence of a terminal', '\u001b'],
    ['a carriage return by itself', '\rb: 2'],
    ['text that runs backwards', '\u202e'],
    ['an isolate', '\u2066'],
    ['a byte order mark in the middle', '\ufeff'],
    ['a delete', '\u007f'],
  ])('%s', (_name, character) => {
    expect(told(`x: 1\na: "b${character}"\n`)).toEqual([
      '2:6: holds a character that cannot be seen; delete it, or write it as an escape in double quotes',
    ]);
  });
});

test('a byte order mark at the beginning and Windows line ends change nothing', () => {
  const windows = `\ufeff${SAMPLE.replaceAll('\n', '\r\n')}`;
  expect(mistakesOf(windows)).toEqual([]);
  expect(mistakesOf(windows.replace('version: 1', 'version: 2').replace('links: true', 'links: 1'))).toEqual([
    '1:10: version: must be 1',
    '64:14: notifications.receivers[1].links: must be true or false',
  ]);
});

describe('YAML bombs are refused, and soon', () => {
  const laughs = Array.from({ length: 30 }, (_, level) => {
    const previous = level === 0 ? 'ha' : Array.from({ length: 10 }, () => `*l${level - 1}`).join(',');
    return `l${level}: &l${level} [${previous}]`;
  }).join('\n');
  const many = (count: number, line: (index: number) => string): string =>
    Array.from({ length: count }, (_, index) => line(index)).join('');

  test.each<[name: string, text: string, told: RegExp]>([
    ['a billion laughs', laughs, /anchors and aliases/],
    ['laughs through merge keys', many(30, (level) => `l${level}: &l${level} {<<: *l${level - 1}}\n`), /anchors|merge/],
    ['brackets in brackets', '['.repeat(1_000_000), /nested more than 32 deep/],
    ['braces in braces', '{a: '.repeat(250_000), /nested more than 32 deep/],
    ['lists in lists', '- '.repeat(500_000), /nested more than 32 deep/],
    ['keys of keys', '? '.repeat(500_000), /nested more than 32 deep/],
    ['mappings in mappings', many(1000, (level) => `${' '.repeat(level)}a:\n`), /nested more than 32 deep/],
    ['documents without end', '---\n'.repeat(250_000), /second document/],
    ['directives without end', '%YAML 1.2\n'.repeat(20_000), /directives/],
    ['commas without end', `[${','.repeat(20_000)}]`, /not expected/],
  ])('%s', (_name, text, expected) => {
    const { document, problems } = parseYaml(text);
    expect(document).toBeNull();
    expect(problems[0]?.message).toMatch(expected);
  });

  test('thirty thousand keys are compared in proportion to their number', () => {
    // Each with each would take half a minute.
    const { document, problems } = parseYaml(many(30_000, (index) => `k${index}: 1\n`) + 'k7: 2\n');
    expect(problems).toMatchObject([{ line: 30_001, column: 1 }]);
    expect(document?.placeOf(['k29999'])).toEqual({ line: 30_000, column: 9 });
  });

  test('what is as deep as allowed is read', () => {
    expect(told(`${'['.repeat(32)}${']'.repeat(32)}`)).toEqual([]);
    expect(told(`${'['.repeat(33)}${']'.repeat(33)}`)).toEqual(['1:33: is nested more than 32 deep']);
  });
});

test('places are those of names, values and what should hold what is missing', () => {
  const { document } = parseYaml('a:\n  - b: 1\n    c: [x, yy]\nd:\n');
  expect(document?.placeOf(['a', 0, 'b'])).toEqual({ line: 2, column: 8 });
  expect(document?.placeOfKey(['a', 0, 'b'])).toEqual({ line: 2, column: 5 });
  expect(document?.placeOf(['a', 0, 'c', 1])).toEqual({ line: 3, column: 12 });
  expect(document?.placeOf(['a', 0, 'missing'])).toEqual({ line: 2, column: 5 });
  expect(document?.placeOf(['a', 7, 'b'])).toEqual({ line: 1, column: 1 });
  expect(document?.placeOf(['d'])).toEqual({ line: 4, column: 1 });
  expect(document?.placeOf([])).toEqual({ line: 1, column: 1 });
});
