import { describe, expect, it } from 'vitest';
import { nextPageNumber } from '../../../src/connectors/github/link-header.ts';

const AT = 'https://api.github.com/repositories/1/issues';

describe('the next page', () => {
  it.each([
    ['of no header', null, null],
    ['of an empty header', '', null],
    ['among others', `<${AT}?page=1>; rel="prev", <${AT}?per_page=5&page=3>; rel="next", <${AT}?page=9>; rel="last"`, 3],
    ['on the last page', `<${AT}?page=1>; rel="prev", <${AT}?page=1>; rel="first"`, null],
    ['beside a cursor', `<${AT}?after=Y3Vyc29yOg%3D%3D&page=2>; rel="next"`, 2],
    ['with no page in it', `<${AT}?after=Y3Vyc29y>; rel="next"`, null],
    ['without quotes', `<${AT}?page=4>; rel=next`, 4],
    ['in capitals', `<${AT}?page=4>; REL="NEXT"`, 4],
    ['among several relations', `<${AT}?page=4>;rel="last next"`, 4],
    ['after other parameters', `<${AT}?page=4>; title="a, \\"b\\"; rel=prev"; rel="next"`, 4],
    ['by its first rel alone', `<${AT}?page=4>; rel="prev"; rel="next"`, null],
    ['with a comma in the address', `<${AT}?labels=a,b;c&page=4>; rel="next"`, 4],
    ['that only begins with next', `<${AT}?page=4>; rel="next-archive"`, null],
    ['zero', `<${AT}?page=0>; rel="next"`, null],
    ['that is no number', `<${AT}?page=2abc>; rel="next"`, null],
    ['too big to be exact', `<${AT}?page=99999999999999999999>; rel="next"`, null],
    ['never closed', `<${AT}?page=2; rel="next"`, null],
    ['in a quotation never closed', `<${AT}?page=2>; rel="next`, 2],
  ])('%s', (_name, header, expected) => {
    expect(nextPageNumber(header)).toBe(expected);
  });

  it('takes a long header in one pass', () => {
    const header = '<a>;'.repeat(100_000) + ' ;'.repeat(100_000);
    expect(nextPageNumber(header)).toBeNull();
  });
});
