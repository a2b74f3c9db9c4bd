const ACCEPTABLE = /^[A-Za-z0-9._-]{1,128}$/;

/** The caller's `x-request-id` when it is one that can stand in a log line and a header, else a new one. */
export function requestIdOf(header: string | readonly string[] | undefined, newRequestId: () => string): string {
  return typeof header === 'string' && ACCEPTABLE.test(header) ? header : newRequestId();
}
