interface Dependency {
  ping(): Promise<void> | void;
}

/** Asks all dependencies at once whether they answer: `ok` or `unavailable`, by name. */
export async function readinessOf(dependencies: Readonly<Record<string, Dependency>>): Promise<Record<string, string>> {
  const entries = Object.entries(dependencies).map(async ([name, dependency]) => {
    try {
      await dependency.ping();
      return [name, 'ok'] as const;
    } catch {
      return [name, 'unavailable'] as const;
    }
  });
  return Object.fromEntries(await Promise.all(entries));
}
