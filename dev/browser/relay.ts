import type { Page } from 'playwright-core';
import type { FilledField, RelayKeys, RelayPlace } from './relay-keys.ts';

/** Waits at a page, as a browser extension would, and fills its form with what is sealed to its key. */
export class PageRelay {
  readonly keys: RelayKeys;
  readonly tabId: string;
  readonly #page: Page;

  constructor(page: Page, keys: RelayKeys, tabId: string) {
    this.#page = page;
    this.keys = keys;
    this.tabId = tabId;
  }

  /** Where the page is now, by the browser's own word. */
  place(): RelayPlace {
    return { origin: new URL(this.#page.url()).origin, tabId: this.tabId };
  }

  /** What it registers itself with. */
  registration() {
    const { origin, tabId } = this.place();
    return { key_id: this.keys.keyId, public_key: this.keys.publicKey, origin, tab_id: tabId };
  }

  /**
   * Fills in what was unwrapped, and submits nothing. Rejects, with the form as it was, when the page has gone elsewhere meanwhile, when a value was
   * sealed for something else, or when an input is not there once.
   */
  async fill({ artifact_id: artifactId, fields }: { artifact_id: string; fields: readonly FilledField[] }): Promise<void> {
    const place = this.place();
    const filled = await Promise.all(
      fields.map(async (field) => {
        const input = this.#page.locator(`css=${field.selector}`);
        const count = await input.count();
        if (count !== 1) throw new Error(`${field.selector} is on the page ${count} times`);
        return { input, value: await this.keys.open(field, artifactId, place) };
      }),
    );
    for (const { input, value } of filled) await input.fill(value);
  }
}
