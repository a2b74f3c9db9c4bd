const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * What is wrong with an origin (RFC 6454) as it is written; null when nothing is. It is compared letter for letter, so it must be as
 * browsers write it: no path, no default port, the host in lower case and in ASCII.
 */
export function originProblem(text: string, allowInsecureLocalhost: boolean): string | null {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) return 'must be an origin such as https://app.example.com';
  if (url.protocol === 'http:') {
    if (!LOOPBACK.has(url.hostname)) return 'must be https (http is for localhost only)';
    if (!allowInsecureLocalhost) return 'must be https; http://localhost has to be allowed first';
  }
  return url.origin === text ? null : `must be written as browsers write it: ${url.origin}`;
}
