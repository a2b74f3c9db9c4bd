import { Environment } from '@marcbachmann/cel-js';
import type { Delegation } from '../domain/delegation.ts';
import type { ConditionInput } from '../domain/policy.ts';
import type { ResourceKind, ResourceRef } from '../domain/resource.ts';
import type { Session } from '../domain/session.ts';
import type { Tool } from '../domain/tool.ts';
import type { WorkloadIdentity } from '../domain/workload.ts';
import { canonicalName } from './resource-names.ts';

/** Elements of a list or entries of a map; a request that brings more makes a condition that looks at them fail. */
export const MAX_ITEMS = 64;

/** In UTF-16 code units; above every name on the wire and every subject that OpenID Connect allows (255). */
export const MAX_TEXT_LENGTH = 1024;

const TIMESTAMP = 'google.protobuf.Timestamp';
const STRINGS = 'list<string>';

/** A resource by the one spelling of its name, found once however often a condition looks, so that no other spelling passes one. */
class NamedResource {
  readonly #resource: ResourceRef;
  #name: string | null = null;
  constructor(resource: ResourceRef) {
    this.#resource = resource;
  }
  get kind() {
    return this.#resource.kind;
  }
  get name() {
    return (this.#name ??= nameOf(this.#resource));
  }
  get ref() {
    const { ref, name } = this.#resource;
    return ref.slice(0, ref.length - name.length) + this.name;
  }
  nameIf(kind: ResourceKind): string {
    return this.kind === kind ? this.name : '';
  }
}

// What a condition sees are these views, made when it looks and not before. CEL reads only the fields declared beside them.

class RequestView {
  readonly #input: ConditionInput;
  readonly #named: NamedResource;
  constructor(input: ConditionInput, named: NamedResource) {
    this.#input = input;
    this.#named = named;
  }
  get tool() {
    return text(this.#input.request.tool);
  }
  get capability() {
    return text(this.#input.request.capability);
  }
  get resource_ref() {
    return this.#named.ref;
  }
  get delivery_mode() {
    return this.#input.request.deliveryMode;
  }
  get ttl_seconds() {
    return BigInt(this.#input.request.ttlSeconds);
  }
  get origin() {
    return this.#named.nameIf('browser_origin');
  }
  get repo() {
    return this.#named.nameIf('github_repo');
  }
  get db_role() {
    return this.#named.nameIf('db_role');
  }
}

class SessionView {
  readonly #session: Session;
  constructor(session: Session) {
    this.#session = session;
  }
  get id() {
    return text(this.#session.id);
  }
  get tenant_id() {
    return text(this.#session.tenantId);
  }
  get agent_id() {
    return text(this.#session.agentId);
  }
  get run_id() {
    return text(this.#session.runId);
  }
  get tool_context() {
    return texts(this.#session.toolContext);
  }
  get workload_hash() {
    return text(this.#session.workloadHash);
  }
  get created_at() {
    return this.#session.createdAt;
  }
  get expires_at() {
    return this.#session.expiresAt;
  }
  get proof_bound() {
    return this.#session.proofKeyThumbprint !== null;
  }
}

class WorkloadView {
  readonly #identity: WorkloadIdentity;
  #attributes: ReadonlyMap<string, string> | null = null;
  constructor(identity: WorkloadIdentity) {
    this.#identity = identity;
  }
  get type() {
    return this.#identity.type;
  }
  get issuer() {
    return text(this.#identity.issuer);
  }
  get subject() {
    return text(this.#identity.subject);
  }
  get audience() {
    return text(this.#identity.audience);
  }
  get namespace() {
    return text(this.#identity.namespace ?? '');
  }
  get service_account() {
    return text(this.#identity.serviceAccount ?? '');
  }
  get attributes() {
    return (this.#attributes ??= attributesOf(this.#identity));
  }
}

class ResourceView {
  readonly #named: NamedResource;
  constructor(named: NamedResource) {
    this.#named = named;
  }
  get kind() {
    return this.#named.kind;
  }
  get name() {
    return this.#named.name;
  }
  get ref() {
    return this.#named.ref;
  }
}

class ToolView {
  readonly #tool: Tool;
  constructor(tool: Tool) {
    this.#tool = tool;
  }
  get name() {
    return text(this.#tool.name);
  }
  get manifest_hash() {
    return text(this.#tool.manifestHash);
  }
  get runtime_class() {
    return this.#tool.runtimeClass;
  }
  get trust_tags() {
    return texts(this.#tool.trustTags);
  }
}

const LONG_AGO = new Date(0);

class DelegationView {
  readonly #delegation: Delegation | null;
  constructor(delegation: Delegation | null) {
    this.#delegation = delegation;
  }
  get present() {
    return this.#delegation !== null;
  }
  get id() {
    return text(this.#delegation?.id ?? '');
  }
  get issuer() {
    return text(this.#delegation?.issuer ?? '');
  }
  get subject() {
    return text(this.#delegation?.subject ?? '');
  }
  get allowed_capabilities() {
    return texts(this.#delegation?.allowedCapabilities ?? []);
  }
  get expires_at() {
    return this.#delegation?.expiresAt ?? LONG_AGO;
  }
}

/** The variables of one evaluation. */
export class ConditionScope {
  readonly #input: ConditionInput;
  #named: NamedResource | null = null;
  #workload: WorkloadView | null = null;
  constructor(input: ConditionInput) {
    this.#input = input;
  }
  get request() {
    return new RequestView(this.#input, this.#resource());
  }
  get session() {
    return new SessionView(this.#input.session);
  }
  get workload() {
    return (this.#workload ??= new WorkloadView(this.#input.session.workload));
  }
  get resource() {
    return new ResourceView(this.#resource());
  }
  get tool() {
    return new ToolView(this.#input.tool);
  }
  get delegation() {
    return new DelegationView(this.#input.session.delegation);
  }
  get now() {
    return this.#input.now;
  }
  #resource(): NamedResource {
    return (this.#named ??= new NamedResource(this.#input.resource));
  }
}

/** The type of each field of each variable; whatever is not named here does not exist for a condition. */
const FIELDS = {
  request: {
    tool: 'string',
    capability: 'string',
    resource_ref: 'string',
    delivery_mode: 'string',
    ttl_seconds: 'int',
    origin: 'string',
    repo: 'string',
    db_role: 'string',
  },
  session: {
    id: 'string',
    tenant_id: 'string',
    agent_id: 'string',
    run_id: 'string',
    tool_context: STRINGS,
    workload_hash: 'string',
    created_at: TIMESTAMP,
    expires_at: TIMESTAMP,
    proof_bound: 'bool',
  },
  workload: {
    type: 'string',
    issuer: 'string',
    subject: 'string',
    audience: 'string',
    namespace: 'string',
    service_account: 'string',
    attributes: 'map<string, string>',
  },
  resource: { kind: 'string', name: 'string', ref: 'string' },
  tool: { name: 'string', manifest_hash: 'string', runtime_class: 'string', trust_tags: STRINGS },
  delegation: {
    present: 'bool',
    id: 'string',
    issuer: 'string',
    subject: 'string',
    allowed_capabilities: STRINGS,
    expires_at: TIMESTAMP,
  },
} as const;

/** The names of all fields that hold a list or a map. */
export const COLLECTION_FIELDS: ReadonlySet<string> = new Set(
  Object.values(FIELDS).flatMap((fields) =>
    Object.entries(fields).flatMap(([name, type]: [string, string]) => (/^(list|map)</.test(type) ? [name] : [])),
  ),
);

/** CEL with these variables and no others. Limits hold while parsing. */
export const conditionEnvironment = new Environment({
  limits: { maxAstNodes: 400, maxDepth: 32, maxListElements: MAX_ITEMS, maxMapEntries: MAX_ITEMS, maxCallArguments: 4 },
})
  .registerType('Request', { ctor: RequestView, fields: FIELDS.request })
  .registerType('Session', { ctor: SessionView, fields: FIELDS.session })
  .registerType('Workload', { ctor: WorkloadView, fields: FIELDS.workload })
  .registerType('Resource', { ctor: ResourceView, fields: FIELDS.resource })
  .registerType('Tool', { ctor: ToolView, fields: FIELDS.tool })
  .registerType('Delegation', { ctor: DelegationView, fields: FIELDS.delegation })
  .registerVariable('request', 'Request')
  .registerVariable('session', 'Session')
  .registerVariable('workload', 'Workload')
  .registerVariable('resource', 'Resource')
  .registerVariable('tool', 'Tool')
  .registerVariable('delegation', 'Delegation')
  .registerVariable('now', TIMESTAMP);

function text(value: string): string {
  if (value.length > MAX_TEXT_LENGTH) throw new RangeError(`a text is longer than ${MAX_TEXT_LENGTH} characters`);
  return value;
}

function texts(values: readonly string[]): readonly string[] {
  requireFew(values.length);
  for (const value of values) text(value);
  return values;
}

/** A Map, because an attribute may be called `constructor`. */
function attributesOf({ attributes }: WorkloadIdentity): ReadonlyMap<string, string> {
  const entries = Object.entries(attributes);
  requireFew(entries.length);
  return new Map(entries.map(([name, value]) => [text(name), text(value)]));
}

function requireFew(count: number): void {
  if (count > MAX_ITEMS) throw new RangeError(`a list or map holds more than ${MAX_ITEMS} entries`);
}

function nameOf({ kind, name }: ResourceRef): string {
  const canonical = canonicalName(kind, name);
  if (canonical === null) throw new Error(`the name is not one of a ${kind}`);
  return text(canonical);
}
