/** Where a subject's parts end by custom: `repo:OWNER/NAME:ref:...`, `project_path:GROUP/PROJECT:...`, `spiffe://DOMAIN/...`. */
const BOUNDARIES = ['/', ':'];
/** Ends of a prefix that are no part of a name, besides: `auth0|`, `user@`. */
const SEPARATED = /[/:|@#=]$/;
const UNPRINTABLE = /[\p{C}\p{Z}]/u;

/**
 * Whether a subject begins with one of the prefixes. A prefix is a whole number of a subject's parts: `repo:acme/` lets in
 * `repo:acme/site:ref:refs/heads/main`, and so does `repo:acme`; neither lets in `repo:acme-evil/site`.
 *
 * Throws an Error when a prefix would let everybody in, or none.
 */
export function makeSubjectMatcher(prefixes: readonly string[]): (subject: string) => boolean {
  if (prefixes.length === 0) throw new Error('at least one subject prefix must be allowed');
  for (const prefix of prefixes) {
    if (prefix === '') throw new Error('an empty subject prefix would let everybody in');
    if (prefix.includes('*')) throw new Error('a subject prefix is written without *');
    if (UNPRINTABLE.test(prefix)) throw new Error('a subject prefix holds white space or a control character');
  }
  return (subject) => prefixes.some((prefix) => subject.startsWith(prefix) && endsPart(subject, prefix));
}

function endsPart(subject: string, prefix: string): boolean {
  if (SEPARATED.test(prefix) || subject.length === prefix.length) return true;
  return BOUNDARIES.includes(subject.charAt(prefix.length));
}
