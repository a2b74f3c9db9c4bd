import { Agent, request } from 'undici';

/**
 * Gets a JSON document. Rejects when the answer is anything but a 200 with JSON of at most 256 KiB, redirects included, and
 * when `signal` aborts.
 */
export type FetchJson = (url: URL, signal: AbortSignal) => Promise<unknown>;

/** A key set of 32 RSA keys with their certificates is about 100 KiB. */
const MAX_BYTES = 256 * 1024;
const OK = 200;

/** Fetches over connections that are closed at once: an issuer is asked a few times an hour. */
export function makeFetchJson(): FetchJson {
  const dispatcher = new Agent({ maxResponseSize: MAX_BYTES });
  return async (url, signal) => {
    const { statusCode, body } = await request(url, {
      dispatcher,
      signal,
      reset: true,
      headers: { accept: 'application/json', 'user-agent': 'asb' },
    });
    const text = await body.text();
    if (statusCode !== OK) throw new Error(`${url.host} answered ${statusCode}`);
    return parse(text, url);
  };
}

/** Without the text of the answer in the error. */
function parse(text: string, url: URL): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${url.host} did not answer JSON`);
  }
}
