import { z } from 'zod';
import type { Clock } from '../../src/domain/clock.ts';
import { envelope, VaultError } from './answers.ts';
import { bodyOf, type Handler, ok, type VaultCall } from './request.ts';

interface Version {
  data: Readonly<Record<string, unknown>> | null;
  metadata: {
    created_time: string;
    custom_metadata: null;
    deletion_time: string;
    destroyed: boolean;
    version: number;
  };
}

const write = z.object({
  data: z.record(z.string(), z.unknown()),
  options: z.object({ cas: z.int().min(0).optional() }).default({}),
});

/** Version 2 of the key/value engine: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2. */
export function kvEngine(mount: string, clock: Clock): Handler {
  const secrets = new Map<string, Version[]>();
  const read = (path: string, asked: number) => {
    const versions = secrets.get(path) ?? [];
    const version = asked === 0 ? versions.at(-1) : versions.find(({ metadata }) => metadata.version === asked);
    if (version === undefined) throw new VaultError(404);
    // One that was deleted answers 404, and says so.
    return { status: version.data === null ? 404 : 200, body: envelope({ data: version }) };
  };
  const put = (path: string, call: VaultCall) => {
    const { data, options } = bodyOf(call, write);
    const versions = secrets.get(path) ?? [];
    if (options.cas !== undefined && options.cas !== versions.length) {
      throw new VaultError(400, 'check-and-set parameter did not match the current version');
    }
    const created = { created_time: clock.now().toISOString(), custom_metadata: null };
    const metadata = { ...created, deletion_time: '', destroyed: false, version: versions.length + 1 };
    secrets.set(path, [...versions, { data, metadata }]);
    return ok(envelope({ data: metadata }));
  };
  const remove = (path: string) => {
    const last = secrets.get(path)?.at(-1);
    if (last !== undefined) {
      last.data = null;
      last.metadata.deletion_time = clock.now().toISOString();
    }
    return 'no_content' as const;
  };
  return (call) => {
    const [, path = '', version] = /^data\/([^?]+)(?:\?version=(\d+))?$/.exec(call.path.slice(mount.length + 1)) ?? [];
    if (path === '') return Promise.resolve(null);
    if (call.method === 'GET') return Promise.resolve(read(path, Number(version ?? 0)));
    if (call.method === 'POST') return Promise.resolve(put(path, call));
    return Promise.resolve(call.method === 'DELETE' ? remove(path) : null);
  };
}
