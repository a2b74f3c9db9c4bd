import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileDescriptor } from '../../src/audit/descriptor.ts';
import { JsonLinesAuditLog } from '../../src/audit/json-lines-audit-log.ts';
import { openAuditFile } from '../../src/audit/open-audit-log.ts';
import { idOf, idsOf } from '../support/audit-lines.ts';
import { after, anEvent } from '../support/entities.ts';

const UNAVAILABLE: unknown = expect.objectContaining({ code: 'unavailable', message: 'audit log cannot be written' });

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
    for (const [name, problem] of [
      ['directory', /cannot be opened .*\(EISDIR\)$/],
      ['missing/audit.jsonl', /cannot be opened .*\(ENOENT\)$/],
      ['link', /must not be a symbolic link$/],
      ['dangling', /must not be a symbolic link$/],
    ] as const) {
      expect(() => openAuditFile(join(folder, name))).toThrow(problem);
    }
    expect(() => openAuditFile('/dev/full')).toThrow('the file must be a regular one');
    expect(() => statSync(join(folder, 'nowhere'))).toThrow('ENOENT');
  });

  it('is opened again where its name leads after a rotation, and no event is lost', () => {
    const log = openAuditFile(path());
    const events = [anEvent(), anEvent(), anEvent()] as const;
    log.append([events[0]]);
    renameSync(path(), join(folder, 'audit.jsonl.1'));
    log.append([events[1]]);
    log.reopen();
    log.append([events[2]]);
    log.close();
    expect(idsOf(readFileSync(join(folder, 'audit.jsonl.1'), 'utf8'))).toEqual([events[0].id, events[1].id]);
    expect(idsOf(readFileSync(path(), 'utf8'))).toEqual([events[2].id]);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
  });

  it('stays in use when what took its name is not a file', () => {
    const log = openAuditFile(path());
    const rotated = join(folder, 'audit.jsonl.1');
    renameSync(path(), rotated);
    symlinkSync(rotated, path());
    expect(() => log.reopen()).toThrow('the file must not be a symbolic link');
    const event = anEvent();
    log.append([event]);
    log.close();
    expect(idsOf(readFileSync(rotated, 'utf8'))).toEqual([event.id]);
  });

  it('is one file when it is opened again without having been renamed', () => {
    const log = openAuditFile(path());
    const events = [anEvent(), anEvent()] as const;
    log.append([events[0]]);
    log.reopen();
    log.append([events[1]]);
    log.close();
    expect(idsOf(readFileSync(path(), 'utf8'))).toEqual(events.map(({ id }) => id));
  });
});

it('fails on a full disk with unavailable and nothing else', () => {
  const fd = openSync('/dev/full', 'w');
  const log = new JsonLinesAuditLog({ descriptor: fileDescriptor(fd) });
  expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
  expect(() => log.append([anEvent()])).toThrow(UNAVAILABLE);
  expect(() => log.ping()).toThrow(UNAVAILABLE);
  closeSync(fd);
});

it('says that a pipe takes nothing until its reader has made room', () => {
  const folder = mkdtempSync(join(tmpdir(), 'asb-audit-'));
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  const log = new JsonLinesAuditLog({ descriptor: { ...fileDescriptor(fd), pause: () => undefined } });
  const fill = () => {
    for (;;) log.append([anEvent()]);
  };
  expect(fill).toThrow(UNAVAILABLE);
  for (let attempt = 0; attempt < 100; attempt += 1) expect(() => log.ping()).toThrow(UNAVAILABLE);
  readSync(fd, new Uint8Array(8192));
  expect(() => log.ping()).not.toThrow();
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

describe('standard output', () => {
  const script = `
    import { auditToStdout } from './src/audit/open-audit-log.ts';
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
