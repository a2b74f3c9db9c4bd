import type { ErrorCode } from 'yaml';

export const ONE_DOCUMENT = 'begins a second document; the file must hold one';
export const NO_ALIASES = 'anchors and aliases are not read; write the value out where it is needed';
export const NO_TAGS = 'tags are not read; leave the tag out, and put text in quotes';
export const NO_DIRECTIVES = 'directives are not read; the file is YAML 1.2';

const INDENTED_WRONGLY =
  'is indented wrongly, or a bracket before it is not closed; what belongs together begins in one column';
const STRAY = 'is not expected here; look for a missing quote, bracket, comma or colon here and on the line before';

/** What to change for each kind of syntax error. The library's own messages may quote the file. */
export const SYNTAX_MISTAKES: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: NO_ALIASES,
  BAD_ALIAS: NO_ALIASES,
  BAD_COLLECTION_TYPE: NO_TAGS,
  BAD_DIRECTIVE: NO_DIRECTIVES,
  BAD_DQ_ESCAPE: 'has an unknown escape; in double quotes a backslash is written twice',
  BAD_INDENT: INDENTED_WRONGLY,
  BAD_PROP_ORDER: NO_ALIASES,
  BAD_SCALAR_START: 'begins with a character that has a meaning in YAML; put the value in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'has a second colon; put the value in quotes, or write the mapping on lines of its own',
  BLOCK_IN_FLOW: 'is a block inside of brackets; close the bracket first',
  DUPLICATE_KEY: 'is written twice in the same mapping; keep one',
  IMPOSSIBLE: STRAY,
  KEY_OVER_1024_CHARS: 'is too long for a key; look for a missing quote or line break',
  MISSING_CHAR: 'lacks a character here: a closing quote or bracket, a comma, a space, or the colon after a key',
  MULTILINE_IMPLICIT_KEY:
    'goes over several lines where a key with its colon was expected; look for a missing colon or quote',
  MULTIPLE_ANCHORS: NO_ALIASES,
  MULTIPLE_DOCS: ONE_DOCUMENT,
  MULTIPLE_TAGS: NO_TAGS,
  NON_STRING_KEY: 'must be plain text, as every key',
  RESOURCE_EXHAUSTION: 'is nested too deep',
  TAB_AS_INDENT: 'is indented by a tab; use spaces',
  TAG_RESOLVE_FAILED: NO_TAGS,
  UNEXPECTED_TOKEN: STRAY,
};
