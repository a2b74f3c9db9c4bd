import { AttributeAction, isTraversal, parse, type PseudoSelector, type Selector, SelectorType } from 'css-what';

const MAX_SELECTOR = 500;

// Of https://www.w3.org/TR/selectors-4/, what tells where an input is. The parser takes any name, and any argument.
const WITHOUT_ARGUMENT: ReadonlySet<string> = new Set([
  ...['root', 'empty', 'first-child', 'last-child', 'only-child', 'first-of-type', 'last-of-type', 'only-of-type'],
  ...['enabled', 'disabled', 'read-only', 'read-write', 'required', 'optional', 'placeholder-shown'],
]);
const WITH_SELECTORS: ReadonlySet<string> = new Set(['not', 'is', 'where', 'has']);
const WITH_NUMBER: ReadonlySet<string> = new Set(['nth-child', 'nth-last-child', 'nth-of-type', 'nth-last-of-type']);
const NTH = /^(?:odd|even|[+-]?\d+|[+-]?\d*n(?:\s*[+-]\s*\d+)?)$/i;

/** What is wrong with the CSS selector of an input; null when nothing is. What is right is understood by every browser. */
export function selectorProblem(text: string): string | null {
  if (text.length > MAX_SELECTOR) return `must be ${MAX_SELECTOR} characters at most`;
  let alternatives: Selector[][];
  try {
    alternatives = parse(text);
  } catch {
    return NO_SELECTOR;
  }
  const [only, ...others] = alternatives;
  if (only === undefined) return NO_SELECTOR;
  if (others.length > 0) return 'must be one CSS selector, without commas: it is for one input';
  return sequenceProblem(only, false);
}

const NO_SELECTOR = 'is no CSS selector';

/** A selector is compounds with a combinator between any two; one within `:has()` may begin with a combinator. */
function sequenceProblem(tokens: readonly Selector[], isRelative: boolean): string | null {
  const isMisplaced = tokens.some((token, index) => {
    if (!isTraversal(token)) return false;
    const next = tokens[index + 1];
    return next === undefined || isTraversal(next) || (index === 0 && !isRelative);
  });
  if (tokens.length === 0 || isMisplaced) return NO_SELECTOR;
  return tokens.map(tokenProblem).find((problem) => problem !== null) ?? null;
}

function tokenProblem(token: Selector): string | null {
  switch (token.type) {
    case SelectorType.PseudoElement:
      return 'must name an input, which no pseudo-element is';
    case SelectorType.Pseudo:
      return pseudoProblem(token);
    case SelectorType.ColumnCombinator:
    case SelectorType.Parent:
      return 'has a combinator that browsers do not know';
    case SelectorType.Attribute:
      if (token.action === AttributeAction.Not) return '[name!=value] is no CSS; write :not([name=value])';
      return namespaceProblem(token);
    case SelectorType.Tag:
    case SelectorType.Universal:
      return namespaceProblem(token);
    default:
      return null;
  }
}

const namespaceProblem = ({ namespace }: { namespace: string | null }): string | null =>
  namespace === null ? null : 'has a namespace, which browsers do not know here';

function pseudoProblem({ name, data }: PseudoSelector): string | null {
  if (WITHOUT_ARGUMENT.has(name) && data === null) return null;
  if (WITH_NUMBER.has(name) && typeof data === 'string' && NTH.test(data.trim())) return null;
  if (WITH_SELECTORS.has(name) && Array.isArray(data) && data.length > 0) {
    return data.map((tokens) => sequenceProblem(tokens, name === 'has')).find((problem) => problem !== null) ?? null;
  }
  return `:${name} is not a way to find an input, or its argument is wrong`;
}
