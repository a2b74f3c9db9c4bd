import type { ASTNode } from '@marcbachmann/cel-js';
import { MACROS, stepsOf } from './condition-cost.ts';
import { childrenOf, nodesOf } from './condition-nodes.ts';
import { conditionEnvironment } from './condition-variables.ts';

/** Where a condition asks for something that conditions do not do, and what to write instead. */
export interface ConditionProblem {
  offset: number;
  message: string;
}

/** How much one evaluation may do: a few milliseconds. Two lists of the full size may be compared element by element, three may not. */
const MAX_STEPS = 50_000;

const METHODS: ReadonlySet<string> = new Set([
  ...MACROS,
  ...['startsWith', 'endsWith', 'contains', 'lowerAscii', 'upperAscii', 'size'],
  ...['getFullYear', 'getMonth', 'getDate', 'getDayOfMonth', 'getDayOfWeek', 'getHours', 'getMinutes', 'getSeconds'],
]);
const FUNCTIONS: ReadonlySet<string> = new Set(['has', 'size', 'int', 'double', 'string', 'timestamp', 'duration']);
const LITERAL_ONLY: ReadonlySet<string> = new Set(['timestamp', 'duration']);

/** Longer than any time that can be meant, and short for the backtracking parser behind it. */
const MAX_TIME_LENGTH = 40;

const NOT_NESTED = 'a list or map holds texts, numbers, times and bools here, not other lists, maps or variables';
const TOO_EXPENSIVE =
  'is too expensive: nest fewer exists, all, filter or map, go over shorter lists, or search for a text that is written out';

/** What the type checker does not refuse: calls that are not safe or not the same everywhere, and work without bound. */
export function conditionProblem(root: ASTNode): ConditionProblem | null {
  for (const node of nodesOf(root)) {
    const message = callProblem(node) ?? indexProblem(node) ?? rangeProblem(node) ?? spellingProblem(node);
    if (message !== null) return { offset: node.pos, message };
  }
  const nested: ConditionProblem[] = [];
  const steps = stepsOf(root, ({ start }) => nested.push({ offset: start, message: NOT_NESTED }));
  if (nested[0] !== undefined) return nested[0];
  return steps <= MAX_STEPS ? null : { offset: root.start, message: TOO_EXPENSIVE };
}

function callProblem(node: ASTNode): string | null {
  if (node.op === 'rcall') {
    const [name, , args] = node.args;
    if (name === 'matches')
      return 'matches is not available, as patterns may take for ever; use startsWith, endsWith or contains';
    if (!METHODS.has(name)) return `${name} is not available here`;
    if (name.startsWith('get') && args.length > 0) return `${name} takes no time zone; conditions count in UTC`;
    return null;
  }
  if (node.op !== 'call') return null;
  const [name, args] = node.args;
  if (!FUNCTIONS.has(name)) return `${name} is not available here`;
  if (name === 'has') return hasProblem(args);
  return LITERAL_ONLY.has(name) ? timeProblem(node, name, args) : null;
}

/** The type checker does not look into `has`, which would be silent about a misspelt field. */
function hasProblem([arg]: readonly ASTNode[]): string | null {
  const isAttribute = arg?.op === '.' && fieldName(arg.args[0]) === 'workload.attributes';
  return isAttribute ? null : 'has is for workload.attributes; every other field is always there';
}

/** Times are read when the condition is loaded, so that a mistake in one shows there. */
function timeProblem({ input, start, end }: ASTNode, name: string, [arg]: readonly ASTNode[]): string | null {
  const written = arg?.op === 'value' ? arg.args : null;
  if (typeof written !== 'string' || written.length > MAX_TIME_LENGTH) {
    return `${name} takes a text in quotes, of ${MAX_TIME_LENGTH} characters at most`;
  }
  try {
    conditionEnvironment.evaluate(input.slice(start, end));
    return null;
  } catch {
    return `${name} cannot be read; write timestamp("2026-01-02T03:04:05Z") or duration("1h30m")`;
  }
}

/** Fields by a name that is computed could not be checked when loaded. */
function indexProblem(node: ASTNode): string | null {
  if (node.op !== '[]') return null;
  const [from, key] = node.args;
  return from.op === 'id' && key.op !== 'value' ? 'write the name of the field, as in request.tool' : null;
}

/** With sums in what a macro goes over, each of several macros could double what the one before it made. */
function rangeProblem(node: ASTNode): string | null {
  if (node.op !== 'rcall' || !MACROS.has(node.args[0])) return null;
  const sums = nodesOf(node.args[1]).some(({ op }) => op === '+');
  return sums ? `${node.args[0]} goes over a list that is written or given, not over one that is computed with +` : null;
}

const NAME_FIELDS: ReadonlySet<string> = new Set(['request.resource_ref', 'resource.ref', 'resource.name']);

/** GitHub ignores case, so conditions see repositories in lower case; a capital would make a comparison mean nothing. */
function spellingProblem(node: ASTNode): string | null {
  const operands = node.op === 'rcall' && !MACROS.has(node.args[0]) ? childrenOf(node) : comparedIn(node);
  const fields = operands.map(fieldName);
  const isRepo = fields.includes('request.repo');
  if (!isRepo && !fields.some((field) => NAME_FIELDS.has(field))) return null;
  const capital = operands
    .flatMap(nodesOf)
    .some(
      ({ op, args }) => op === 'value' && typeof args === 'string' && /[A-Z]/.test(args) && (isRepo || args.includes('/')),
    );
  return capital ? 'conditions see repositories and origins in lower case; write it so' : null;
}

const comparedIn = (node: ASTNode): readonly ASTNode[] =>
  node.op === '==' || node.op === '!=' || node.op === 'in' ? node.args : [];

function fieldName(node: ASTNode): string {
  if (node.op !== '.') return '';
  const [from, field] = node.args;
  return from.op === 'id' ? `${from.args}.${field}` : '';
}
