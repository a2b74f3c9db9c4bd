import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Authority {
  /** PEM. */
  ca: string;
  /** The same in a file. */
  caFile: string;
  /** Paths of a certificate for these names (`DNS:redis.example`, `IP:127.0.0.1`), and of its key. */
  issue(...names: string[]): { cert: string; key: string };
  close(): void;
}

const NEW_KEY = ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'ignore' });

/** A certificate authority of its own, with its files in a folder of its own. */
export function makeAuthority(): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'asb-ca-'));
  const [caCert, caKey] = [join(folder, 'ca.pem'), join(folder, 'ca-key.pem')];
  openssl(...NEW_KEY, '-x509', '-days', '2', '-subj', '/CN=test authority', '-keyout', caKey, '-out', caCert);
  let issued = 0;
  return {
    ca: readFileSync(caCert, 'utf8'),
    caFile: caCert,
    issue(...names) {
      issued += 1;
      const [cert, key, request, extensions] = ['cert', 'key', 'request', 'extensions'].map((file) =>
        join(folder, `${file}-${issued}.pem`),
      ) as [string, string, string, string];
      writeFileSync(extensions, `subjectAltName=${names.join(',')}`);
      openssl(...NEW_KEY, '-subj', '/CN=server', '-keyout', key, '-out', request);
      openssl(
        ...['x509', '-req', '-days', '2', '-CA', caCert, '-CAkey', caKey, '-in', request, '-out', cert],
        ...['-extfile', extensions],
      );
      return { cert, key };
    },
    close: () => rmSync(folder, { recursive: true }),
  };
}
