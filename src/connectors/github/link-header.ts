const WHOLE_NUMBER = /^[1-9][0-9]{0,15}$/;

/**
 * The number of the page that a `Link` header (RFC 8288 section 3) calls `next`, or null when there is none or it has no
 * number. Only the number is taken: the address in the header is the upstream's word and is never followed.
 */
export function nextPageNumber(linkHeader: string | null): number | null {
  for (const link of splitOutsideQuotes(linkHeader ?? '', ',')) {
    const [target = '', ...parameters] = splitOutsideQuotes(link, ';');
    if (target.startsWith('<') && target.endsWith('>') && relationsOf(parameters).includes('next')) {
      return pageOf(target.slice(1, -1));
    }
  }
  return null;
}

function pageOf(target: string): number | null {
  const page = new URLSearchParams(target.slice(target.indexOf('?') + 1)).get('page') ?? '';
  const number = Number(page);
  return WHOLE_NUMBER.test(page) && Number.isSafeInteger(number) ? number : null;
}

/** Only the first `rel` counts (RFC 8288 section 3.3); its values are separated by spaces and have no case. */
function relationsOf(parameters: readonly string[]): readonly string[] {
  for (const parameter of parameters) {
    const [name = '', value = ''] = splitOutsideQuotes(parameter, '=');
    if (name.toLowerCase() === 'rel') return value.replaceAll('"', '').toLowerCase().split(' ');
  }
  return [];
}

/** Splits at a separator that is neither inside `<...>` nor inside a quoted string, in one pass; the parts are trimmed. */
function splitOutsideQuotes(text: string, separator: string): readonly string[] {
  const parts: string[] = [];
  let start = 0;
  let closing: '>' | '"' | null = null;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (closing === '"' && character === '\\') at++;
    else if (closing !== null) closing = character === closing ? null : closing;
    else if (character === '<') closing = '>';
    else if (character === '"') closing = '"';
    else if (character === separator) {
      parts.push(text.slice(start, at).trim());
      start = at + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}
