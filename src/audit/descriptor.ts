import { closeSync, writeSync } from 'node:fs';

/** A file descriptor's own calls; tests put failing ones in their place. */
export interface Descriptor {
  /** As write(2): answers how many bytes went, or throws. */
  write(bytes: Uint8Array, offset: number, length: number): number;
  close(): void;
  /** Blocks this thread for `ms` milliseconds. */
  pause(ms: number): void;
}

/** The calls of an open file descriptor. */
export function fileDescriptor(fd: number): Descriptor {
  return {
    write: (bytes, offset, length) => writeSync(fd, bytes, offset, length),
    close: () => closeSync(fd),
    pause: (ms) => void Atomics.wait(PAUSE_CELL, 0, 0, ms),
  };
}

const PAUSE_CELL = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
