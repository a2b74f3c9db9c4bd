import type { DownstreamCall } from '../../domain/downstream-call.ts';
import type { ArtifactId, CallId, TenantId } from '../../domain/ids.ts';
import { IdIndex } from './id-index.ts';
import { TimeQueue } from './time-queue.ts';

/** The downstream calls whose outcome is not on record. */
export class DownstreamCalls {
  readonly #calls = new Map<CallId, DownstreamCall>();
  readonly #deadlines = new TimeQueue<CallId>();
  /** Proxied ones. */
  readonly #byArtifact = new IdIndex<string, CallId>();

  get(id: CallId): DownstreamCall | undefined {
    return this.#calls.get(id);
  }

  /** The proxied calls behind a handle. */
  *ofArtifact(tenantId: TenantId, artifactId: ArtifactId): Generator<DownstreamCall, void> {
    for (const id of this.#byArtifact.ascending(artifactId)) {
      const call = this.#calls.get(id);
      if (call !== undefined && isProxiedFor(call, tenantId, artifactId)) yield call;
    }
  }

  /** Calls whose deadline was before `before`, oldest first. */
  overdue(before: Date, limit: number): DownstreamCall[] {
    const found: DownstreamCall[] = [];
    for (const id of this.#deadlines.before(before, limit)) {
      const call = this.#calls.get(id);
      if (call !== undefined) found.push(call);
    }
    return found;
  }

  put(call: DownstreamCall): void {
    const { id, kind, deadline, subject } = call;
    this.#calls.set(id, call);
    this.#deadlines.put(id, deadline);
    if (kind === 'proxy' && subject.artifactId !== undefined) this.#byArtifact.add(subject.artifactId, id);
  }

  /** Takes a call out. One that is not inside is no error. */
  remove(id: CallId): void {
    const artifactId = this.#calls.get(id)?.subject.artifactId;
    this.#calls.delete(id);
    this.#deadlines.remove(id);
    if (artifactId !== undefined) this.#byArtifact.remove(artifactId, id);
  }

  counts(): Readonly<Record<string, number>> {
    return { calls: this.#calls.size, callDeadlines: this.#deadlines.size, callsByArtifact: this.#byArtifact.size };
  }
}

/** Whether a call is a proxied one behind a handle of a tenant. */
export const isProxiedFor = (call: DownstreamCall, tenantId: TenantId, artifactId: ArtifactId): boolean =>
  call.kind === 'proxy' && call.subject.tenantId === tenantId && call.subject.artifactId === artifactId;
