import type { SendOptions } from '../../domain/connector.ts';
import { BrokerError, deadlineExceeded } from '../../domain/errors.ts';
import type { LeakScan } from '../leak-scan.ts';
import type { ResponseBody } from './response-body.ts';
import { errorFromFailure } from './translate-error.ts';

/** Enough for GitHub's error messages. */
const MAX_ERROR_BODY_BYTES = 16 * 1024;

/**
 * Runs `work` until it settles or the signal aborts, whichever is first; work that is left behind sees the same signal.
 * Rejects with the abort's reason when that is a `BrokerError`, otherwise with `deadline_exceeded`.
 */
export async function untilAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  if (signal.aborted) throw abortError(signal);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(abortError(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Reads a whole body. Each chunk, as decoded, is paid for before it is kept, so what exceeds the budget is cut off on its
 * way. Rejects as `spendBytes` does, or with what `onBroken` makes of it when the body breaks off.
 */
export async function readBody(
  body: ResponseBody,
  options: SendOptions,
  onBroken: (failure: unknown) => BrokerError = errorFromFailure,
): Promise<Uint8Array> {
  return join(await chunksOf(body, options, onBroken, (chunk) => chunk));
}

/** The same, of a body that may hold the credential it was asked for with; what a scan finds of that is made unreadable. */
export async function readScannedBody(
  body: ResponseBody,
  options: SendOptions,
  onBroken: (failure: unknown) => BrokerError,
  scan: LeakScan,
): Promise<Uint8Array> {
  const clean = await chunksOf(body, options, onBroken, (chunk) => scan.push(chunk));
  return join([...clean, scan.end()]);
}

async function chunksOf(
  body: ResponseBody,
  options: SendOptions,
  onBroken: (failure: unknown) => BrokerError,
  take: (chunk: Uint8Array) => Uint8Array,
): Promise<readonly Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  const end = await readChunks(body, options, (chunk) => {
    chunks.push(take(chunk));
    return true;
  });
  if (end.state === 'broken') throw onBroken(end.failure);
  return chunks;
}

/** What came in one piece and was handed on in several is put together without a copy. */
function join(chunks: readonly Uint8Array[]): Uint8Array {
  const [first, ...others] = chunks;
  if (first === undefined) return new Uint8Array();
  let { byteLength } = first;
  for (const { buffer, byteOffset, byteLength: more } of others) {
    if (buffer !== first.buffer || byteOffset !== first.byteOffset + byteLength) return Buffer.concat(chunks);
    byteLength += more;
  }
  return new Uint8Array(first.buffer, first.byteOffset, byteLength);
}

/** Reads the beginning of an error's body, paid for like any other; what breaks off counts as far as it came. */
export async function readErrorBody(body: ResponseBody, options: SendOptions): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  await readChunks(body, options, (chunk) => {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    return bytes < MAX_ERROR_BODY_BYTES;
  });
  return Buffer.concat(chunks).toString('utf8');
}

type TransferEnd = { state: 'complete' | 'unwanted' } | { state: 'broken'; failure: unknown };

/** Hands chunks on until the body ends, breaks off, or `keep` answers false. Rejects only as `spendBytes` or the signal do. */
async function readChunks(
  body: ResponseBody,
  options: SendOptions,
  keep: (chunk: Uint8Array) => boolean,
): Promise<TransferEnd> {
  try {
    for (;;) {
      const chunk = await nextChunk(body);
      if (!(chunk instanceof Uint8Array)) return chunk;
      options.signal.throwIfAborted();
      await options.spendBytes(chunk.byteLength);
      if (!keep(chunk)) return { state: 'unwanted' };
    }
  } finally {
    // If more is on its way, this closes the upstream connection.
    body.destroy();
  }
}

async function nextChunk(body: ResponseBody): Promise<Uint8Array | TransferEnd> {
  try {
    return (await body.next()) ?? { state: 'complete' };
  } catch (failure) {
    return { state: 'broken', failure };
  }
}

function abortError(signal: AbortSignal): BrokerError {
  const reason: unknown = signal.reason;
  if (reason instanceof BrokerError) return reason;
  return deadlineExceeded('the call was ended before GitHub had answered');
}
