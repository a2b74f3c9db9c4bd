import { z } from 'zod';
import type { IssuedSecret, SecretTerms } from '../domain/artifact.ts';
import type { SecretDelivery } from '../domain/delivery.ts';
import type { IdSource } from '../domain/id-source.ts';
import type { SealingContext, SecretSealer } from '../domain/sealing.ts';

/** What is sealed. Strict: a part that this version does not know must not be dropped in silence. */
const Fields = z.array(z.strictObject({ name: z.string(), value: z.string() }));

export interface SecretDeliveryConfig {
  sealer: SecretSealer;
  ids: Pick<IdSource, 'artifactId'>;
}

/** Delivers an artifact in which the credential lies sealed. */
export function makeSecretDelivery({ sealer, ids }: SecretDeliveryConfig): SecretDelivery {
  return {
    async wrap(grant, content, now) {
      const terms: SecretTerms = {
        id: ids.artifactId(),
        tenantId: grant.tenantId,
        sessionId: grant.sessionId,
        grantId: grant.id,
        kind: grant.deliveryMode === 'minted_token' ? 'minted_token' : 'wrapped_secret',
        createdAt: now,
        expiresAt: content.expiresAt < grant.expiresAt ? content.expiresAt : grant.expiresAt,
      };
      const fields = content.fields.map(({ name, value }) => ({ name, value: value.reveal() }));
      const sealed = await sealer.seal(JSON.stringify(fields), placeOf(terms));
      return { ...terms, state: 'issued', sealed };
    },

    open: async (artifact: IssuedSecret) => parseFields(await sealer.open(artifact.sealed, placeOf(artifact))),
  };
}

const placeOf = ({ tenantId, id, grantId, kind }: SecretTerms): SealingContext => ({
  tenantId,
  artifactId: id,
  grantId,
  purpose: kind,
});

function parseFields(text: string): z.infer<typeof Fields> {
  const parsed = Fields.safeParse(parseJson(text));
  // Without the cause: it may tell of what is in the text.
  if (!parsed.success) throw new Error('a wrapped secret was opened and is not a list of fields');
  return parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
