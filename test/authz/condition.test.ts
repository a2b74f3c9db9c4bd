import { describe, expect, test } from 'vitest';
import { compileCondition, ConditionError } from '../../src/authz/condition.ts';
import { parseResourceRef } from '../../src/domain/resource.ts';
import { after, aSession } from '../support/entities.ts';
import { conditionInput, DELEGATION } from './world.ts';

type Input = NonNullable<Parameters<typeof conditionInput>[0]>;

const holds = (source: string, input: Input = {}): boolean => compileCondition(source).holds(conditionInput(input));
const asking = (ref: string): Input => ({ question: { resource: parseResourceRef(ref) } });

describe('a condition sees the request, the session, the workload, the resource, the tool, the delegation and the time', () => {
  const { workload } = aSession();

  test.each<[source: string, input?: Input]>([
    ['request.tool == "github" && request.capability == "repo.read" && request.delivery_mode == "proxy"'],
    ['request.ttl_seconds == 300'],
    ['request.ttl_seconds <= 60', { question: { ttlSeconds: 60 } }],
    ['request.resource_ref == "github:repo:acme/widgets" && request.resource_ref == resource.ref'],
    ['request.repo == "acme/widgets" && request.origin == "" && request.db_role == ""'],
    [
      'request.origin == "https://app.example" && request.repo == "" && request.db_role == ""',
      asking('browser_origin:https://app.example'),
    ],
    ['request.db_role == "Reader" && request.repo == "" && request.origin == ""', asking('dbrole:Reader')],
    ['resource.kind == "github_repo" && resource.name == "acme/widgets"'],
    ['session.tenant_id == "t_dev" && session.agent_id == "reviewer" && session.run_id == "run_1"'],
    ['session.id.startsWith("sess_") && session.workload_hash.size() == 64'],
    ['session.tool_context == ["github"]'],
    ['session.created_at == now && session.expires_at - now == duration("15m")'],
    ['!session.proof_bound'],
    ['session.proof_bound', { session: { proofKeyThumbprint: 'thumbprint' } }],
    ['workload.type == "k8s_sa" && workload.namespace == "agents" && workload.service_account == "reviewer"'],
    ['workload.issuer.startsWith("https://") && workload.audience == "asb-control-plane"'],
    ['workload.subject == "system:serviceaccount:" + workload.namespace + ":" + workload.service_account'],
    ['workload.attributes["pod_name"] == "reviewer-0" && workload.attributes.node_name == "node-1"'],
    ['"pod_name" in workload.attributes && !has(workload.attributes.pod_uid)'],
    [
      'workload.namespace == "" && workload.service_account == ""',
      { session: { workload: { ...workload, type: 'oidc', namespace: null, serviceAccount: null } } },
    ],
    ['workload.attributes.constructor == "x"', { session: { workload: { ...workload, attributes: { constructor: 'x' } } } }],
    ['tool.name == "github" && tool.manifest_hash == "sha256:dev" && tool.runtime_class == "hosted"'],
    ['"trusted" in tool.trust_tags && tool.trust_tags.size() == 2'],
    ['!delegation.present && delegation.issuer == "" && delegation.subject == "" && delegation.id == ""'],
    ['delegation.allowed_capabilities == [] && delegation.expires_at < now'],
    [
      'delegation.present && delegation.subject == "alice" && "repo.read" in delegation.allowed_capabilities',
      { session: { delegation: DELEGATION } },
    ],
    ['now > timestamp("2026-01-01T00:00:00Z") && now.getHours() == 3 && now.getDayOfWeek() == 5'],
    ['session.tool_context.filter(t, t != "github").size() == 0 && session.tool_context.map(t, t.size()) == [6]'],
    ['session.tool_context.all(t, t in tool.trust_tags) && tool.trust_tags.exists_one(tag, tag == "trusted")'],
  ])('%s', (source, input) => {
    expect(holds(source, input)).toBe(true);
  });

  test('what does not hold does not hold', () => {
    expect(holds('request.tool == "browser"')).toBe(false);
    expect(holds('false')).toBe(false);
    expect(holds('session.expires_at > now', { session: { expiresAt: after(-1) } })).toBe(false);
  });

  test('the conditions of the first broker run unchanged', () => {
    const browser = 'request.origin == "https://app.example" && session.tool_context.exists(t, t == "browser")';
    const origin = asking('browser_origin:https://app.example');
    expect(holds('request.tool == "github"')).toBe(true);
    expect(holds('true')).toBe(true);
    expect(holds(browser, origin)).toBe(false);
    expect(holds(browser, { ...origin, session: { toolContext: ['github', 'browser'] } })).toBe(true);
    expect(holds(browser, { session: { toolContext: ['browser'] } })).toBe(false);
  });

  test('a compiled condition keeps its source and can be asked again and again', () => {
    const condition = compileCondition('request.db_role == "reader"');
    expect(condition.source).toBe('request.db_role == "reader"');
    const answers = ['dbrole:reader', 'dbrole:writer', 'dbrole:reader'].map((ref) =>
      condition.holds(conditionInput(asking(ref))),
    );
    expect(answers).toEqual([true, false, true]);
  });
});

describe('a mistake in a condition shows when it is loaded, with its place', () => {
  test.each<[source: string, line: number, column: number, problem: RegExp]>([
    ['requst.tool == "github"', 1, 1, /Unknown variable: requst/],
    ['request.tol == "github"', 1, 9, /No such key: tol/],
    ['true &&\n  session.tenant == "t"', 2, 11, /No such key: tenant/],
    ['workload.namespace.first == "a"', 1, 20, /Cannot index type 'string'/],
    ['request.tool == 1', 1, 1, /no such overload: string == int/],
    ['session.id == null', 1, 1, /no such overload: string == null/],
    ['request.ttl_seconds < "60"', 1, 1, /no such overload: int < string/],
    ['session.tool_context.exists(t, t.size())', 1, 32, /must return bool/],
    ['request.tool', 1, 1, /must answer a bool, not a string/],
    ['1 + 1', 1, 1, /must answer a bool, not a int/],
    ['null', 1, 1, /must answer a bool/],
    ['session.tool_context', 1, 1, /must answer a bool/],
    ['request.tool = "github"', 1, 14, /Unexpected character/],
    ['request.tool == "github', 1, 17, /Unterminated string/],
    ['request.tool == "github" garbage', 1, 26, /Unexpected character/],
    ['', 1, 1, /Unexpected token: EOF/],
    ['now < timestamp("tomorrow")', 1, 7, /timestamp cannot be read/],
    ['session.expires_at - now < duration("5 minutes")', 1, 28, /duration cannot be read/],
    ['now < timestamp(request.tool)', 1, 7, /takes a text in quotes/],
    ['now.getHours("Europe/Berlin") > 8', 1, 1, /takes no time zone/],
    ['has(request.tol)', 1, 1, /has is for workload.attributes/],
    ['!has(delegation.subjct)', 1, 2, /has is for workload.attributes/],
    ['session[request.tool] == "x"', 1, 1, /write the name of the field/],
    ['request.repo == "Acme/widgets"', 1, 1, /in lower case/],
    ['request.repo.startsWith("Acme")', 1, 1, /in lower case/],
    ['request.repo in ["acme/a", "acme/B"]', 1, 1, /in lower case/],
    ['"github:repo:Acme/widgets" != request.resource_ref', 1, 1, /in lower case/],
    ['resource.name != "Acme/widgets"', 1, 1, /in lower case/],
  ])('%j', (source, line, column, problem) => {
    const compile = () => compileCondition(source);
    expect(compile).toThrow(ConditionError);
    expect(compile).toThrow(expect.objectContaining({ line, column, message: expect.stringMatching(problem) }));
    expect(compile).toThrow(`line ${line}, column ${column}: `);
  });
});

describe('a name has one spelling, so that no condition is passed by writing it differently', () => {
  test.each<[source: string, ref: string]>([
    ['request.repo != "acme/secrets"', 'github:repo:ACME/Secrets'],
    ['resource.name != "acme/secrets"', 'github:repo:ACME/Secrets'],
    ['!request.resource_ref.endsWith("/secrets")', 'github:repo:ACME/Secrets'],
    ['resource.ref != "github:repo:acme/secrets"', 'github:repo:acme/SECRETS'],
  ])('%s does not let %s through', (source, ref) => {
    expect(holds(source, asking(ref))).toBe(false);
  });

  test.each(['https://bank.example/', 'https://BANK.example', 'https://bank.example:443', 'https://me@bank.example'])(
    'an origin written as %s makes a condition that looks at it fail',
    (origin) => {
      for (const field of ['request.origin', 'resource.name', 'resource.ref', 'request.resource_ref']) {
        expect(() => holds(`${field} != "https://bank.example"`, asking(`browser_origin:${origin}`))).toThrow(/not one of/);
      }
    },
  );
});
