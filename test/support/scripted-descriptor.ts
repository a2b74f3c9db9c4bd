import type { Descriptor } from '../../src/audit/descriptor.ts';

/** Writes into a string, unless told what to do instead: take so many bytes, or throw. */
export class ScriptedDescriptor implements Descriptor {
  written = '';
  writes = 0;
  pausedMs = 0;
  isClosed = false;
  /** What the next writes do. */
  answers: (number | Error)[] = [];
  /** What all others do. */
  always: number | Error | null = null;

  write(bytes: Uint8Array, offset: number, length: number): number {
    this.writes += 1;
    const answer = this.answers.shift() ?? this.always ?? length;
    if (answer instanceof Error) throw answer;
    this.written += Buffer.from(bytes).toString('latin1', offset, offset + answer);
    return answer;
  }

  close(): void {
    this.isClosed = true;
  }

  pause(ms: number): void {
    this.pausedMs += ms;
  }
}

/** An error as the system makes it. */
export const systemError = (code: string): Error => Object.assign(new Error(code), { code });
