import { describe, expect, test } from 'vitest';
import { compileCondition, ConditionError } from '../../src/authz/condition.ts';
import type { WorkloadIdentity } from '../../src/domain/workload.ts';
import { aSession } from '../support/entities.ts';
import { conditionInput, decide, DELEGATION, type World } from './world.ts';

const nested = (depth: number): string => {
  const names = Array.from({ length: depth }, (_, index) => `t${index}`);
  return names.reduceRight((inner, name) => `session.tool_context.exists(${name}, ${inner})`, 't0 == "x"');
};
const list = (length: number): string => `[${Array.from({ length }, (_, index) => index).join(', ')}]`;
/** Lists in lists by reference: each level holds the one before it as often as a list has elements, and comparing visits them all. */
const bomb = (from: string, level: (held: string) => string): string => {
  const levels = Array.from({ length: 4 }, (_, index) => index);
  const open = levels.map((at) => `[${level(`m${at}`)}].all(m${at + 1}, [${level(`n${at}`)}].all(n${at + 1}, `).join('');
  return `[${from}].all(m0, [${from}].all(n0, ${open}m4 == n4${'))'.repeat(5)}`;
};
const NESTED = /a list or map holds texts, numbers, times and bools here/;
const doubling = (times: number): string => `[request.tool]${'.map(x, x + x)'.repeat(times)}.size() == 1`;

describe('a condition that no request may be made to pay for is refused when it is loaded', () => {
  test.each<[attack: string, source: string, refusal: RegExp]>([
    ['parentheses without end', `${'('.repeat(1000)}true${')'.repeat(1000)}`, /maxDepth/],
    ['lists in lists without end', `${'['.repeat(1000)}1${']'.repeat(1000)} == []`, /maxDepth/],
    ['ternaries in ternaries', `${'true ? '.repeat(200)}true${' : false'.repeat(200)}`, /maxDepth/],
    ['a stack of nots', `${'!'.repeat(4000)}true`, /maxAstNodes/],
    ['a stack of signs', `${'-'.repeat(4000)}1 == 1`, /maxAstNodes/],
    ['a chain of ands', `true${' && true'.repeat(450)}`, /maxAstNodes/],
    ['a chain of fields', `request${'.tool'.repeat(500)} == ""`, /maxDepth|maxAstNodes/],
    ['a list of hundreds', `1 in ${list(300)}`, /maxListElements/],
    ['a map of a hundred', `{${list(100).slice(1, -1).replaceAll(/\d+/g, '$&: 1')}} == {}`, /maxMapEntries/],
    ['a source of megabytes', `request.tool == "${'a'.repeat(1_000_000)}"`, /longer than 4096/],
    ['megabytes of comments', `true // ${'a'.repeat(1_000_000)}`, /longer than 4096/],
    ['macros nested five deep', nested(5), /too expensive/],
    ['macros nested three deep', nested(3), /too expensive/],
    [
      'all three over a list of its own',
      `${list(40)}.all(a, ${list(40)}.all(b, ${list(40)}.all(c, a + b < c)))`,
      /too expensive/,
    ],
    [
      'macros nested in what a macro goes over',
      `session.tool_context.filter(t, ${nested(2)}).all(x, true)`,
      /too expensive/,
    ],
    ['a text doubled by map and map again', doubling(20), /computed with \+/],
    [
      'a list doubled by map and map again',
      '[[1]].map(x, x + x).map(x, x + x).map(x, x + x).size() == 1',
      /computed with \+/,
    ],
    ['a sum hidden in a ternary', '(true ? [request.tool + "a"] : ["b"]).exists(x, x == "a")', /computed with \+/],
    ['a sum hidden in an index', '[[request.tool + "a"]][0].exists(x, x == "a")', /computed with \+/],
    ['a bomb of lists made by map', bomb('"a"', (held) => `session.tool_context.map(x, ${held})`), NESTED],
    ['a bomb of lists written out', bomb('"a"', (held) => `[${Array(8).fill(held).join(', ')}]`), NESTED],
    ['a bomb of maps', bomb('"a"', (held) => `{"a": ${held}, "b": ${held}, "c": ${held}}`), NESTED],
    ['a bomb of variables', bomb('session', (held) => `[${held}, ${held}]`), NESTED],
    ['a list kept by a map', 'session.tool_context.map(t, session.tool_context) == []', NESTED],
    ['a list kept by a map with a filter', 'session.tool_context.map(t, true, tool.trust_tags) == []', NESTED],
    ['a map kept by a map', '["a"].map(t, workload.attributes).size() == 1', NESTED],
    ['a list kept by a ternary', '[true ? session.tool_context : tool.trust_tags].size() == 1', NESTED],
    ['a list made by filter', '[session.tool_context.filter(t, true)].size() == 1', NESTED],
    ['a list made by a sum', '[session.tool_context + tool.trust_tags].size() == 1', NESTED],
    ['a list under a key', '{"a": session.tool_context}.a == []', NESTED],
    ['a list as a key', '{session.tool_context: 1}.size() == 1', NESTED],
    ['a variable kept by a map', 'session.tool_context.map(t, session).size() == 1', NESTED],
    ['a variable in a list', '[session][0][request.tool] != "x"', NESTED],
    [
      'a text looked for in a text, for each pair',
      'session.tool_context.all(a, tool.trust_tags.all(b, !workload.subject.contains(workload.issuer)))',
      /too expensive/,
    ],
    [
      'a short text looked for in a long one, by many for each',
      `session.tool_context.all(a, ${Array(8).fill('!a.contains("ab")').join(' && ')})`,
      /too expensive/,
    ],
    [
      'a text looked for in one as long, by many for each',
      `session.tool_context.all(a, ${Array(8).fill('!a.contains(workload.issuer)').join(' && ')})`,
      /too expensive/,
    ],
    [
      'sums of lists compared for each',
      `session.tool_context.all(a, ${Array(20).fill('tool.trust_tags').join(' + ')} != [a])`,
      /too expensive/,
    ],
    [
      'maps compared for each, many times',
      `session.tool_context.all(a, ${Array(20).fill('workload.attributes == workload.attributes').join(' && ')})`,
      /too expensive/,
    ],
    [
      'a long sum looked through for each',
      `session.tool_context.all(a, !(${Array(80).fill('workload.subject').join(' + ')}).contains(a))`,
      /too expensive/,
    ],
    ['a text doubled by names', 'cel.bind(a, "xx", cel.bind(b, a + a, b + b == ""))', /bind is not available/],
    ['an expression that backtracks', 'request.tool.matches("^(a+)+$")', /matches is not available/],
    [
      'an expression that a request brings',
      '"aaaaaaaaaaaaaaaa!".matches(workload.attributes.pattern)',
      /matches is not available/,
    ],
    ['matches as a function', 'matches(request.tool, "a")', /not available/],
    ['a duration that backtracks', `duration("${'1'.repeat(3000)}x") == now - now`, /of 40 characters at most/],
    ['a duration that a request brings', 'duration(workload.attributes.length) == now - now', /takes a text in quotes/],
    ['split and join', 'request.tool.split("").join("aaaa") == ""', /not available/],
    ['a type that is given up', 'dyn(session).anything', /dyn is not available/],
    ['a type that is given up inside', 'session.tool_context.exists(t, dyn(t).x == 1)', /dyn is not available/],
    ['optional fields', 'session.?anything.orValue(true)', /Expected IDENTIFIER/],
    ['a function that nobody declared', 'fetch("https://evil.example") == ""', /fetch is not available/],
    ['a method that nobody declared', 'request.tool.eval() == ""', /eval is not available/],
  ])('%s', (_attack, source, refusal) => {
    expect(() => compileCondition(source)).toThrow(ConditionError);
    expect(() => compileCondition(source)).toThrow(refusal);
  });

  test('two lists of the full size may be compared, which takes every step there is', () => {
    const full = Array.from({ length: 64 }, (_, index) => `name-${index}`);
    const source = 'session.tool_context.all(t, tool.trust_tags.exists(tag, tag == t))';
    expect(
      compileCondition(source).holds(conditionInput({ tool: { trustTags: full }, session: { toolContext: full } })),
    ).toBe(true);
  });
});

describe('a condition reaches nothing but its variables', () => {
  test.each<[attempt: string, source: string]>([
    ['a constructor', 'session.constructor == "x"'],
    ['a constructor by index', 'session["constructor"] == "x"'],
    ['a prototype', 'session.__proto__ == "x"'],
    ['a prototype by index', 'session["__proto__"] == "x"'],
    ["a prototype's method", 'request.toString() == "x"'],
    ['the name of a private field', 'session.tokenId == "x"'],
    ['the token id', 'session.token_id == "x"'],
    ['the global object', 'globalThis == 1'],
    ['the process', 'process.env.HOME == "/"'],
    ['an object that every environment has', 'Object == 1'],
    ['a variable of the caller', 'input.session == 1'],
    ['a name inherited by the scope', 'constructor == 1'],
    ['a reserved name', '__proto__ == 1'],
    ['a whole variable', 'session == session'],
  ])('%s', (_attempt, source) => {
    expect(() => compileCondition(source)).toThrow(ConditionError);
  });

  const { workload } = aSession();
  const withAttributes = (attributes: WorkloadIdentity['attributes']): World => ({
    session: { workload: { ...workload, attributes } },
  });

  test.each(['constructor', '__proto__', 'toString', 'hasOwnProperty'])(
    'an attribute %s is there only when attested',
    (name) => {
      const condition = compileCondition(`"${name}" in workload.attributes && workload.attributes["${name}"] == "x"`);
      expect(condition.holds(conditionInput(withAttributes({})))).toBe(false);
      const attested = Object.fromEntries([[name, 'x']]);
      expect(condition.holds(conditionInput(withAttributes(attested)))).toBe(true);
    },
  );

  test('a name of a macro hides a variable only inside it', () => {
    const condition = compileCondition(
      'session.tool_context.exists(request, request == "github") && request.tool == "github"',
    );
    expect(condition.holds(conditionInput())).toBe(true);
  });
});

describe('what cannot be evaluated is denied', () => {
  const { workload } = aSession();
  const many = Array.from({ length: 65 }, (_, index) => `name-${index}`);
  const long = 'a'.repeat(1025);

  test.each<[attempt: string, source: string, world?: World]>([
    ['division by zero', '10 / (request.ttl_seconds - request.ttl_seconds) == 1'],
    ['remainder by zero', '10 % (request.ttl_seconds - request.ttl_seconds) == 1'],
    ['a number too large', 'request.ttl_seconds + 9223372036854775807 > 0'],
    ['a number that is none', 'int(request.tool) == 1'],
    ['a key that is not there', 'workload.attributes["team"] == "core"'],
    ['not having a key that is not there', '!(workload.attributes["team"] == "core")'],
    ['an index that is not there', 'session.tool_context[9] == "github"'],
    ['an index below nought', 'session.tool_context[-1] == "github"'],
    [
      'a list longer than any',
      'session.tool_context.exists(t, t == "github")',
      { session: { toolContext: ['github', ...many] } },
    ],
    [
      'a delegation longer than any',
      'delegation.allowed_capabilities.size() > 0',
      { session: { delegation: { ...DELEGATION, allowedCapabilities: ['*', ...many] } } },
    ],
    ['a text longer than any', 'workload.subject != "x"', { session: { workload: { ...workload, subject: long } } }],
    [
      'an attribute longer than any',
      '"a" in workload.attributes',
      { session: { workload: { ...workload, attributes: { a: long } } } },
    ],
    [
      'more attributes than any',
      'workload.attributes.size() > 0',
      { session: { workload: { ...workload, attributes: Object.fromEntries(many.map((name) => [name, ''])) } } },
    ],
    [
      'an origin that is none',
      'request.origin != "https://bank.example"',
      {
        policy: { resourceKind: 'browser_origin' },
        question: { resource: { kind: 'browser_origin', name: 'x', ref: 'browser_origin:x' } },
      },
    ],
  ])('%s', (_attempt, source, world = {}) => {
    const policy = { ...world.policy, condition: compileCondition(source) };
    expect(decide({ ...world, policy })).toMatchObject({
      allowed: false,
      reason: 'condition_failed',
      rule: 'policy:repo.read',
      message: 'the condition on capability repo.read could not be evaluated for this request',
    });
  });

  test('a failing part is no obstacle where another decides, as CEL has it', () => {
    const holds = (source: string) => compileCondition(source).holds(conditionInput());
    expect(holds('workload.attributes.team == "core" || request.tool == "github"')).toBe(true);
    expect(holds('workload.attributes.team == "core" && request.tool == "browser"')).toBe(false);
    expect(() => holds('workload.attributes.team == "core" || request.tool == "browser"')).toThrow(/No such key/);
  });
});
