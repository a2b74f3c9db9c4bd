import { describe, expect, test } from 'vitest';
import { selectorProblem } from '../../../src/connectors/browser/selector.ts';

describe('a selector', () => {
  test.each([
    '#user',
    'input',
    '.login input[name="user"]',
    'form > input[type=password i]',
    'label + input',
    'label ~ input',
    'input:not([type=hidden], .old):enabled',
    'form:has(> button) input:nth-of-type(2n + 1)',
    'li:nth-child(odd) input:is(#a, .b)',
    '#with\\:colon',
    '[data-test="a,b"]',
  ])('%s finds an input', (text) => {
    expect(selectorProblem(text)).toBeNull();
  });

  test.each([
    ['', /no CSS selector/],
    [' ', /no CSS selector/],
    ['#', /no CSS selector/],
    ['a >', /no CSS selector/],
    ['> a', /no CSS selector/],
    ['a > > b', /no CSS selector/],
    ['a{color:red}', /no CSS selector/],
    ['a:not(> b)', /no CSS selector/],
    ['a:not(b >)', /no CSS selector/],
    ['#user, #comment', /one CSS selector/],
    ['input::placeholder', /pseudo-element/],
    ['input:contains("x")', /:contains/],
    ['input:eq(1)', /:eq/],
    ['input:first', /:first /],
    ['input:nth-child(x)', /:nth-child/],
    ['input:nth-child', /:nth-child/],
    ['input:first-child(2)', /:first-child/],
    ['input:not', /:not/],
    ['input:not(a:eq(1))', /:eq/],
    ['input[name!=user]', /:not\(\[name=value\]\)/],
    ['a || b', /combinator/],
    ['a < b', /combinator/],
    ['svg|a', /namespace/],
    ['a'.repeat(501), /500 characters/],
  ])('%j is refused', (text, problem) => {
    expect(selectorProblem(text)).toMatch(problem);
  });
});
