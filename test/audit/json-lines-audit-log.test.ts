import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileDescriptor, JsonLinesAuditLog, openAuditFile, type Descriptor } from '../../src/audit/json-lines-audit-log.ts';
import { anEvent, after, TENANT } from '../support/entities.ts';

const UNAVAILABLE: unknown = expect.objectContaining({ code: 'unavailable', message: 'audit log cannot be written' });

/** Writes into a string; `answers` are what the next writes do instead: take so many bytes, or throw. */
class ScriptedDescriptor implements Descriptor {
  written = '';
  writes = 0;
  pausedMs = 0;
  answers: (number | Error)[] = [];

  write(bytes: Uint8Array, offset: number, length: number): number {
    this.writes += 1;
    const answer = this.answers.shift() ?? length;
    if (answer instanceof Error) throw answer;
    this.written += Buffer.from(bytes).toString('latin1', offset, offset + answer);
    return answer;
  }

  close(): void {
    this.answers = [];
  }

  pause(ms: number): void {
    this.pausedMs += ms;
  }
}

const failure = (code: string): Error => Object.assign(new Error(code), { code });
const idsOf = (text: string): unknown[] => text.trimEnd().split('\n').map(idOf);

function idOf(line: string): unknown {
  const parsed: unknown = JSON.parse(line);
  return typeof parsed === 'object' && parsed !== null && 'id' in parsed ? parsed.id : parsed;
}

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
    descriptor.answers = [failure('EAGAIN'), 20, failure('EAGAIN'), 0];
    const event = anEvent();
    new JsonLinesAuditLog({ descriptor }).append([event]);
    expect(idsOf(descriptor.written)).toEqual([event.id]);
    expect(descriptor.pausedMs).toBeGreaterThan(0);
  });

  it.each([
    { name: 'refuses every write', answer: failure('EAGAIN') },
    { name: 'takes no byte', answer: 0 },
  ])('fails after a second when the reader $name', ({ answer }) => {
    const descriptor = new ScriptedDescriptor();
    descriptor.answers = Array.from({ length: 10_000 }, () => answer);
    const log = new JsonLinesAuditLog({ descriptor });
    expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
    expect(descriptor.pausedMs).toBe(1000);
    expect(descriptor.written).toBe('');
  });

  it.each(['ENOSPC', 'EIO', 'EPIPE', 'EBADF'])('fails on %s with the cause for the log alone', (code) => {
    const descriptor = new ScriptedDescriptor();
    const cause = failure(code);
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
    descriptor.answers = [25, failure('ENOSPC')];
    expect(() => log.append([lost])).toThrow(UNAVAILABLE);
    descriptor.answers = [failure('ENOSPC')];
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

describe('an audit file', () => {
  let folder = '';
  beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'asb-audit-'))));
  afterEach(() => rmSync(folder, { recursive: true }));
  const path = () => join(folder, 'audit.jsonl');

  it('is made for its owner alone', () => {
    openAuditFile(path()).close();
    expect(statSync(path()).mode & 0o777).toBe(0o600);
  });

  it('is appended to, by the next process too', () => {
    const events = [anEvent(), anEvent({ at: after(1) }), anEvent()];
    for (const event of events) {
      const log = openAuditFile(path());
      log.append([event]);
      log.close();
    }
    expect(idsOf(readFileSync(path(), 'utf8'))).toEqual(events.map(({ id }) => id));
  });

  it('continues on a new line after a process that was killed while it wrote', () => {
    writeFileSync(path(), '{"id":"evt_whole"}\n{"id":"evt_to');
    const event = anEvent();
    const log = openAuditFile(path());
    log.append([event]);
    log.close();
    const lines = readFileSync(path(), 'utf8').trimEnd().split('\n');
    expect(lines.slice(0, 2)).toEqual(['{"id":"evt_whole"}', '{"id":"evt_to']);
    expect(lines.slice(2).map(idOf)).toEqual([event.id]);
  });

  it('has each batch before append returns', () => {
    const log = openAuditFile(path());
    const event = anEvent();
    log.append([event]);
    expect(idsOf(readFileSync(path(), 'utf8'))).toEqual([event.id]);
    log.close();
  });

  it('is not a directory, a link, a device or in a folder that is not there', () => {
    mkdirSync(join(folder, 'directory'));
    writeFileSync(join(folder, 'target'), '');
    symlinkSync(join(folder, 'target'), join(folder, 'link'));
    symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling'));
    for (const name of ['directory', 'link', 'dangling', 'missing/audit.jsonl']) {
      expect(() => openAuditFile(join(folder, name))).toThrow(/audit file .* cannot be opened/);
    }
    expect(() => openAuditFile('/dev/full')).toThrow('audit file /dev/full is not a regular file');
    expect(() => statSync(join(folder, 'nowhere'))).toThrow('ENOENT');
  });
});

it('fails on a full disk with unavailable and nothing else', () => {
  const fd = openSync('/dev/full', 'w');
  const log = new JsonLinesAuditLog({ descriptor: fileDescriptor(fd) });
  expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
  expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
  closeSync(fd);
});

describe('standard output', () => {
  const script = `
    import { auditToStdout } from './src/audit/json-lines-audit-log.ts';
    const log = auditToStdout();
    const details = { filler: 'x'.repeat(20_000) };
    for (let batch = 0; batch < 4; batch += 1) {
      const ids = Array.from({ length: 50 }, (_, index) => 'evt_' + (batch * 50 + index));
      log.append(ids.map((id) => ({ id, at: new Date(0), type: 'session.created', requestId: 'r', subject: {}, details })));
    }
    log.close();`;

  it('gets every event through a non-blocking pipe that is full most of the time', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'asb-audit-'));
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    // A FIFO opens without waiting only when its other end is there; a read-write descriptor is both.
    const bothEnds = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    const readEnd = openSync(pipe, constants.O_RDONLY);
    const writeEnd = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', writeEnd, 'inherit'] });
    closeSync(writeEnd);
    closeSync(bothEnds);
    const ids: unknown[] = [];
    for await (const line of createInterface({ input: createReadStream('', { fd: readEnd }) })) ids.push(idOf(line));
    rmSync(folder, { recursive: true });
    expect(ids).toEqual(Array.from({ length: 200 }, (_, index) => `evt_${index}`));
  });
});
