// Handles and JWTs, wherever a caller may have put one by mistake.
const BEARER_SECRETS = /ph_[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{8,}(\.+[A-Za-z0-9_-]+){1,4}/g;

/** A caller's words without the handles and tokens among them: `[secret]` stands for each. */
export const withoutBearerSecrets = (text: string): string => text.replace(BEARER_SECRETS, '[secret]');
