import { describe, expect, it } from 'vitest';
import { JsonLinesAuditLog } from '../../src/audit/json-lines-audit-log.ts';
import { idOf, idsOf } from '../support/audit-lines.ts';
import { anEvent, TENANT } from '../support/entities.ts';
import { ScriptedDescriptor, systemError } from '../support/scripted-descriptor.ts';

const UNAVAILABLE: unknown = expect.objectContaining({ code: 'unavailable', message: 'audit log cannot be written' });

describe('a line', () => {
  const lineOf = (event: Parameters<JsonLinesAuditLog['append']>[0][number]): string => {
    const descriptor = new ScriptedDescriptor();
    new JsonLinesAuditLog({ descriptor }).append([event]);
    return descriptor.written;
  };

  it('has every field under its snake_case name', () => {
    const event = anEvent({
      type: 'grant.refused',
      requestId: 'req_7',
      subject: {
        tenantId: TENANT,
        agentId: 'agent',
        runId: 'run',
        workloadHash: 'hash',
        sessionId: 'sess_1',
        grantId: 'gr_1',
        artifactId: 'art_1',
        approvalId: 'ap_1',
      },
      code: 'forbidden',
      reason: 'policy_missing',
      revision: 'rev',
      details: { capability: 'repo.read', bytes: 12, first: false, tools: ['github'] },
    });
    expect(JSON.parse(lineOf(event))).toEqual({
      id: event.id,
      at: '2026-01-02T03:04:05.000Z',
      type: 'grant.refused',
      request_id: 'req_7',
      tenant_id: 't_acme',
      agent_id: 'agent',
      run_id: 'run',
      workload_hash: 'hash',
      session_id: 'sess_1',
      grant_id: 'gr_1',
      artifact_id: 'art_1',
      approval_id: 'ap_1',
      code: 'forbidden',
      reason: 'policy_missing',
      revision: 'rev',
      details: { capability: 'repo.read', bytes: 12, first: false, tools: ['github'] },
    });
  });

  it('leaves out what an event does not have', () => {
    expect(Object.keys(JSON.parse(lineOf(anEvent())) as object)).toEqual(['id', 'at', 'type', 'request_id', 'tenant_id']);
  });

  it.each([
    ['a forged line', 'x"}\n{"id":"evt_forged","type":"grant.approved"}'],
    ['a carriage return', 'x\r{"id":"evt_forged"}'],
    ['vertical tab and form feed', 'x\u000b\u000cy'],
    ['the next line and the Unicode separators', 'x\u0085y\u2028z\u2029'],
    ['terminal control sequences', 'x\u001b[2Jy\u009b2Jz\u007f'],
    ['bidirectional overrides', 'x\u202egnp\u2066y'],
    ['half a surrogate pair', 'x\ud800y'],
    ['a NUL', 'x\u0000y'],
  ])('stays one printable line with %s in it', (_, hostile) => {
    const line = lineOf(anEvent({ requestId: hostile, details: { reason: hostile, [hostile]: [hostile] } }));
    expect(line.endsWith('\n')).toBe(true);
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u);
    const parsed: unknown = JSON.parse(line);
    expect(parsed).toMatchObject({ request_id: hostile, details: { reason: hostile } });
  });
});

describe('a batch', () => {
  it('goes out in one write', () => {
    const descriptor = new ScriptedDescriptor();
    const events = [anEvent(), anEvent(), anEvent()];
    new JsonLinesAuditLog({ descriptor }).append(events);
    expect(descriptor.writes).toBe(1);
    expect(idsOf(descriptor.written)).toEqual(events.map(({ id }) => id));
  });

  it('of nothing writes nothing', () => {
    const descriptor = new ScriptedDescriptor();
    new JsonLinesAuditLog({ descriptor }).append([]);
    expect(descriptor.writes).toBe(0);
  });

  it('is written whole through short writes', () => {
    const descriptor = new ScriptedDescriptor();
    descriptor.answers = [1, 10, 3];
    const events = [anEvent(), anEvent({ details: { name: 'Zoë' } })];
    new JsonLinesAuditLog({ descriptor }).append(events);
    expect(descriptor.writes).toBe(4);
    expect(idsOf(descriptor.written)).toEqual(events.map(({ id }) => id));
  });

  it('waits for a slow reader', () => {
    const descriptor = new ScriptedDescriptor();
    descriptor.answers = [systemError('EAGAIN'), 20, systemError('EAGAIN'), 0];
    const event = anEvent();
    new JsonLinesAuditLog({ descriptor }).append([event]);
    expect(idsOf(descriptor.written)).toEqual([event.id]);
    expect(descriptor.pausedMs).toBeGreaterThan(0);
  });

  it.each([
    { name: 'refuses every write', answer: systemError('EAGAIN') },
    { name: 'takes no byte', answer: 0 },
  ])('fails after a second when the reader $name', ({ answer }) => {
    const descriptor = new ScriptedDescriptor();
    descriptor.always = answer;
    const log = new JsonLinesAuditLog({ descriptor });
    expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
    expect(descriptor.pausedMs).toBe(1000);
    expect(descriptor.written).toBe('');
  });

  it.each(['ENOSPC', 'EIO', 'EPIPE', 'EBADF'])('fails on %s with the cause for the log alone', (code) => {
    const descriptor = new ScriptedDescriptor();
    const cause = systemError(code);
    descriptor.answers = [cause];
    const log = new JsonLinesAuditLog({ descriptor });
    expect(() => log.append([anEvent()])).toThrow(expect.objectContaining({ code: 'unavailable', cause }));
    expect(descriptor.pausedMs).toBe(0);
  });

  it('fails when an event cannot be written down, and writes none of the batch', () => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    expect(() => log.append([anEvent(), anEvent({ at: new Date(Number.NaN) })])).toThrow(UNAVAILABLE);
    expect(descriptor.writes).toBe(0);
  });

  it('loses no event to the line that a failed write tore', () => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    const [first, lost, second, third] = [anEvent(), anEvent(), anEvent(), anEvent()];
    log.append([first]);
    descriptor.answers = [25, systemError('ENOSPC')];
    expect(() => log.append([lost])).toThrow(UNAVAILABLE);
    descriptor.answers = [systemError('ENOSPC')];
    expect(() => log.append([lost])).toThrow(UNAVAILABLE);
    log.append([second]);
    log.append([third]);
    const lines = descriptor.written.trimEnd().split('\n');
    expect(lines).toHaveLength(4);
    const torn = lines.splice(1, 1);
    expect(torn[0]).toHaveLength(25);
    expect(lines.map(idOf)).toEqual([first.id, second.id, third.id]);
  });

  it('is refused when the log is closed', () => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    log.close();
    log.close();
    expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
    expect(descriptor.written).toBe('');
  });
});

describe('a reader that has stalled', () => {
  const aStalledLog = () => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    descriptor.always = systemError('EAGAIN');
    expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
    expect(descriptor.pausedMs).toBe(1000);
    descriptor.pausedMs = 0;
    return { descriptor, log };
  };

  it('is waited for once: later events fail at once, each after one try', () => {
    const { descriptor, log } = aStalledLog();
    const before = descriptor.writes;
    for (let attempt = 0; attempt < 10; attempt += 1) expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
    expect(descriptor.writes - before).toBe(10);
    expect(descriptor.pausedMs).toBe(0);
  });

  it('is not waited for in the middle of the first line that goes again', () => {
    const { descriptor, log } = aStalledLog();
    descriptor.answers = [25];
    expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
    expect(descriptor.pausedMs).toBe(0);
    descriptor.always = null;
    const event = anEvent();
    log.append([event]);
    const [torn, ...lines] = descriptor.written.trimEnd().split('\n');
    expect(torn).toHaveLength(25);
    expect(lines.map(idOf)).toEqual([event.id]);
  });

  it('is written to again as soon as it reads, and then waited for again', () => {
    const { descriptor, log } = aStalledLog();
    descriptor.always = null;
    const [first, second] = [anEvent(), anEvent()];
    log.append([first]);
    descriptor.answers = [systemError('EAGAIN'), systemError('EAGAIN')];
    log.append([second]);
    expect(descriptor.pausedMs).toBeGreaterThan(0);
    expect(idsOf(descriptor.written)).toEqual([first.id, second.id]);
  });

  it('is not blamed for an event that cannot be written down', () => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    expect(() => log.append([anEvent({ at: new Date(Number.NaN) })])).toThrow(UNAVAILABLE);
    expect(() => log.ping()).not.toThrow();
    expect(descriptor.writes).toBe(0);
  });
});

describe('ping', () => {
  const aFullDisk = (bytesThatFit = 0) => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    descriptor.always = systemError('ENOSPC');
    if (bytesThatFit > 0) descriptor.answers = [bytesThatFit];
    expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
    return { descriptor, log };
  };

  it('writes nothing while all is well', () => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    log.ping();
    log.append([anEvent()]);
    log.ping();
    expect(descriptor.writes).toBe(1);
  });

  it('fails while the disk is full, and goes well by itself when it is not any more', () => {
    const { descriptor, log } = aFullDisk();
    for (let attempt = 0; attempt < 3; attempt += 1) expect(() => log.ping()).toThrow(UNAVAILABLE);
    expect(descriptor.pausedMs).toBe(0);
    descriptor.always = null;
    log.ping();
    const written = descriptor.writes;
    log.ping();
    expect(descriptor.writes).toBe(written);
  });

  it('goes well when an event has gone through', () => {
    const { descriptor, log } = aFullDisk();
    descriptor.always = null;
    log.append([anEvent()]);
    const written = descriptor.writes;
    log.ping();
    expect(descriptor.writes).toBe(written);
  });

  it('is not content with room for less than what failed', () => {
    const { descriptor, log } = aFullDisk();
    descriptor.answers = [1, 2];
    expect(() => log.ping()).toThrow(UNAVAILABLE);
    expect(() => log.ping()).toThrow(UNAVAILABLE);
    expect(() => log.ping()).toThrow(UNAVAILABLE);
  });

  it('asks a pipe for no more than it takes in one piece', () => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    descriptor.always = systemError('EAGAIN');
    expect(() => log.append([anEvent({ details: { filler: 'x'.repeat(100_000) } })])).toThrow(UNAVAILABLE);
    descriptor.always = null;
    log.ping();
    expect(descriptor.written).toHaveLength(4096);
  });

  it.each([
    { name: 'nothing was written', bytesThatFit: 0, torn: [] },
    { name: 'a line was torn', bytesThatFit: 25, torn: [expect.stringMatching(/^{.{24}$/)] },
  ])('leaves every later line readable, and none empty, when $name', ({ bytesThatFit, torn }) => {
    const { descriptor, log } = aFullDisk(bytesThatFit);
    descriptor.answers = [3];
    expect(() => log.ping()).toThrow(UNAVAILABLE);
    descriptor.always = null;
    log.ping();
    const [first, second] = [anEvent(), anEvent()];
    log.append([first]);
    log.append([second]);
    const lines = descriptor.written.trimEnd().split('\n');
    expect(lines.splice(0, torn.length)).toEqual(torn);
    expect(lines.map(idOf)).toEqual([first.id, second.id]);
  });

  it('fails when the log is closed', () => {
    const log = new JsonLinesAuditLog({ descriptor: new ScriptedDescriptor() });
    log.close();
    expect(() => log.ping()).toThrow(UNAVAILABLE);
  });
});

describe('reopen', () => {
  it('goes on in the new destination, on a line of its own, and closes the old one', () => {
    const [old, fresh] = [new ScriptedDescriptor(), new ScriptedDescriptor()];
    const log = new JsonLinesAuditLog({ descriptor: old }, () => ({ descriptor: fresh, startsMidLine: true }));
    const [before, behind] = [anEvent(), anEvent()];
    log.append([before]);
    log.reopen();
    log.append([behind]);
    expect(idsOf(old.written)).toEqual([before.id]);
    expect(old.isClosed).toBe(true);
    expect(fresh.written.startsWith('\n{')).toBe(true);
    expect(idsOf(fresh.written.trimStart())).toEqual([behind.id]);
  });

  it('keeps the old destination when the new one cannot be opened', () => {
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor }, () => {
      throw systemError('EACCES');
    });
    const [before, behind] = [anEvent(), anEvent()];
    log.append([before]);
    expect(() => log.reopen()).toThrow('EACCES');
    log.append([behind]);
    expect(idsOf(descriptor.written)).toEqual([before.id, behind.id]);
    expect(descriptor.isClosed).toBe(false);
  });

  it('does not take a disk that was full for mended', () => {
    const [old, fresh] = [new ScriptedDescriptor(), new ScriptedDescriptor()];
    const log = new JsonLinesAuditLog({ descriptor: old }, () => ({ descriptor: fresh }));
    old.always = fresh.always = systemError('ENOSPC');
    expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
    log.reopen();
    expect(() => log.ping()).toThrow(UNAVAILABLE);
  });

  it('opens nothing for a log that is closed, and changes nothing where there is nothing to open', () => {
    const closed = new JsonLinesAuditLog({ descriptor: new ScriptedDescriptor() }, () => {
      throw new Error('must not be opened');
    });
    closed.close();
    closed.reopen();
    const descriptor = new ScriptedDescriptor();
    const log = new JsonLinesAuditLog({ descriptor });
    log.reopen();
    log.append([anEvent()]);
    expect(descriptor.isClosed).toBe(false);
    expect(descriptor.writes).toBe(1);
  });
});
