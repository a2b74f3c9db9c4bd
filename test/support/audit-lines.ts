/** The ids of events as JSON lines, in order. */
export const idsOf = (text: string): unknown[] => text.trimEnd().split('\n').map(idOf);

export function idOf(line: string): unknown {
  const parsed: unknown = JSON.parse(line);
  return typeof parsed === 'object' && parsed !== null && 'id' in parsed ? parsed.id : parsed;
}
