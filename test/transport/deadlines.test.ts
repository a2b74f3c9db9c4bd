import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CallContext } from '../../src/domain/call-context.ts';
import type { Clock } from '../../src/domain/clock.ts';
import { BrokerError } from '../../src/domain/errors.ts';
import { CALLS } from '../../src/transport/calls.ts';
import { either, nobodyLeaves, type OnGone, withinDeadline } from '../../src/transport/deadline.ts';
import { CallerGone } from '../../src/transport/errors.ts';
import { CALL_CASES, caseOf } from '../support/call-cases.ts';
import type { CallName } from '../support/fake-broker.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type Listeners, selfSigned, startListeners } from '../support/listeners.ts';
import {
  connectClient,
  grpcClient,
  grpcWebClient,
  jsonClient,
  RawHttp2Client,
  type TransportClient,
} from '../support/transports.ts';

let listeners: Listeners;
let clients: Record<string, TransportClient>;

beforeEach(async () => {
  listeners = await startListeners();
  clients = {
    JSON: jsonClient(listeners.httpUrl),
    Connect: connectClient(listeners.httpUrl),
    'gRPC-Web': grpcWebClient(listeners.httpUrl),
    gRPC: grpcClient(listeners.grpcUrl),
  };
});
afterEach(async () => {
  for (const client of Object.values(clients)) client.close();
  await listeners.close();
});

function client(name: string): TransportClient {
  const found = clients[name];
  if (found === undefined) throw new Error(`no client ${name}`);
  return found;
}

/** In seconds, where it is not ten. */
const DEADLINES: Partial<Record<CallName, number>> = {
  executeGitHubProxy: 20,
  getGrant: 35,
  revokeRun: 30,
  revokeWorkload: 30,
};

/** Makes the broker wait for ever, and tells when a call has come to it. */
function stuck(): Promise<AbortSignal> {
  return new Promise((resolve) => {
    listeners.broker.before((_call, context) => {
      resolve(context.signal);
      return new Promise(() => undefined);
    });
  });
}

const aborted = (signal: AbortSignal): Promise<unknown> => (signal.aborted ? Promise.resolve() : once(signal, 'abort'));

describe.each(['JSON', 'Connect', 'gRPC-Web', 'gRPC'])('over %s', (name) => {
  it.each(CALL_CASES)('$call answers deadline_exceeded when the broker does not', async ({ call, request }) => {
    const reached = stuck();
    const result = client(name).call(call, request);
    const signal = await reached;
    const seconds = DEADLINES[call] ?? 10;
    listeners.clock.advance(seconds - 0.001);
    expect(signal.aborted).toBe(false);
    listeners.clock.advance(0.001);
    expect(await result).toMatchObject({ ok: false, code: 'deadline_exceeded' });
    expect(signal.reason).toMatchObject({ code: 'deadline_exceeded' });
  });

  it('a caller that leaves ends the work', async () => {
    const reached = stuck();
    const leave = new AbortController();
    const result = client(name)
      .call('requestGrant', caseOf('requestGrant').request, { signal: leave.signal })
      .catch(() => 'left');
    const signal = await reached;
    leave.abort();
    await aborted(signal);
    await result;
    expect(signal.reason).toBeInstanceOf(CallerGone);
  });
});

describe.each(['Connect', 'gRPC-Web', 'gRPC'])('over %s', (name) => {
  it("the caller's own timeout ends the call", async () => {
    const reached = stuck();
    const result = client(name).call('requestGrant', caseOf('requestGrant').request, {
      headers: { [name === 'Connect' ? 'connect-timeout-ms' : 'grpc-timeout']: name === 'Connect' ? '30' : '30m' },
    });
    const signal = await reached;
    expect(await result).toMatchObject({
      ok: false,
      code: 'deadline_exceeded',
      message: "the caller's own deadline has passed",
    });
    expect(signal.aborted).toBe(true);
  });
});

it('every call has a deadline', () => {
  for (const call of CALLS) expect(call.deadlineSeconds).toBeGreaterThan(0);
});

it('a body that trickles in over HTTP/2 is cut off', async () => {
  const session = connectHttp2(listeners.grpcUrl);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/asb.v1.BrokerService/CreateSession',
    'content-type': 'application/grpc+proto',
  });
  stream.on('error', () => undefined);
  const arrived = once(listeners.grpc.app.server, 'request');
  stream.write(Buffer.from([0, 0, 0]));
  await arrived;
  const closed = once(stream, 'close');
  // The request is handed on within the same turn as the event.
  await new Promise(setImmediate);
  listeners.clock.advance(20);
  await closed;
  session.close();
});

describe('a caller that waits for people', () => {
  const wait = { method: 'GET', path: '/v1/grants/gr_1?wait_seconds=30' };

  /** Holds the next call until told, or until its caller is gone. */
  function held(): { reached: Promise<AbortSignal>; release: () => void } {
    const { promise: released, resolve: release } = Promise.withResolvers<undefined>();
    const reached = new Promise<AbortSignal>((reach) => {
      listeners.broker.before((_call, { signal }) => {
        reach(signal);
        return released;
      });
    });
    return { reached, release: () => release(undefined) };
  }

  it.each(['JSON', 'Connect', 'gRPC-Web', 'gRPC'])('may wait half a minute over %s', async (name) => {
    const { reached, release } = held();
    const result = client(name).call('getGrant', { grant_id: 'gr_1', wait_seconds: 30 });
    const signal = await reached;
    listeners.clock.advance(34);
    expect(signal.aborted).toBe(false);
    release();
    expect(await result).toMatchObject({ ok: true });
  });

  it('may do so over HTTP/2 with TLS, where there is no body to wait for', async () => {
    const tls = selfSigned();
    await listeners.close();
    listeners = await startListeners({ tls });
    const { reached, release } = held();
    const raw = new RawHttp2Client(listeners.httpUrl, tls.cert);
    const result = raw.send(wait);
    const signal = await reached;
    listeners.clock.advance(34);
    await new Promise(setImmediate);
    expect(signal.aborted).toBe(false);
    release();
    expect(await result).toMatchObject({ status: 200 });
    raw.close();
  });

  it.each(['JSON', 'Connect', 'gRPC-Web', 'gRPC'])('ends its wait over %s by leaving', async (name) => {
    const { reached } = held();
    const leave = new AbortController();
    const result = client(name)
      .call('getGrant', { grant_id: 'gr_1', wait_seconds: 30 }, { signal: leave.signal })
      .catch(() => 'left');
    const signal = await reached;
    leave.abort();
    await aborted(signal);
    await result;
    expect(signal.reason).toBeInstanceOf(CallerGone);
  });
});

describe('a deadline', () => {
  const caller = { requestId: 'r', proof: null };
  const limits = (clock: Clock, onGone: OnGone = nobodyLeaves) => ({ clock, seconds: 1, onGone });

  it('passes on what came in time, and calls off its timer', async () => {
    const clock = new FakeClock();
    expect(await withinDeadline(limits(clock), caller, async () => 'done')).toBe('done');
    clock.advance(2);
  });

  it('drops an error that comes after it', async () => {
    const clock = new FakeClock();
    let fail = (_error: Error): void => undefined;
    const late = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    const result = withinDeadline(limits(clock), caller, () => late);
    clock.advance(1);
    await expect(result).rejects.toMatchObject({ code: 'deadline_exceeded' });
    fail(new Error('too late to matter'));
    // An unhandled rejection would fail this test run.
    await expect(late).rejects.toThrow('too late to matter');
  });

  it('never starts work for a caller that has left', async () => {
    let started = false;
    const gone = (listener: (reason: Error) => void) => {
      listener(new CallerGone());
      return () => undefined;
    };
    const result = withinDeadline(limits(new FakeClock(), gone), caller, async () => {
      started = true;
    });
    await expect(result).rejects.toBeInstanceOf(CallerGone);
    expect(started).toBe(false);
  });

  it('has a signal for whoever asks, even when it is too late', async () => {
    const clock = new FakeClock();
    const contexts: CallContext[] = [];
    const result = withinDeadline(limits(clock), caller, (context) => {
      contexts.push(context);
      return new Promise(() => undefined);
    });
    clock.advance(1);
    await expect(result).rejects.toMatchObject({ code: 'deadline_exceeded' });
    expect(contexts[0]?.signal.reason).toMatchObject({ code: 'deadline_exceeded' });
  });

  it('lets go of a caller that it has given up', async () => {
    const clock = new FakeClock();
    let held = 0;
    const onGone = () => {
      held += 1;
      return () => void (held -= 1);
    };
    const result = withinDeadline(limits(clock, either(onGone, onGone)), caller, () => new Promise(() => undefined));
    expect(held).toBe(2);
    clock.advance(1);
    await expect(result).rejects.toMatchObject({ code: 'deadline_exceeded' });
    expect(held).toBe(0);
  });

  it('lets go of the caller when the work is done', async () => {
    let held = 0;
    const onGone = () => {
      held += 1;
      return () => void (held -= 1);
    };
    await withinDeadline(limits(new FakeClock(), onGone), caller, async () => 1);
    await withinDeadline(limits(new FakeClock(), onGone), caller, async () => {
      throw new BrokerError('conflict', 'x');
    }).catch(() => undefined);
    expect(held).toBe(0);
  });
});
