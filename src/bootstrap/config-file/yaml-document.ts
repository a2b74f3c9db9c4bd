import { Composer, CST, type Document, isScalar, Lexer, LineCounter, Parser } from 'yaml';
import type { FieldPath, Problem } from './problem.ts';
import { nodeFinder, structureProblems } from './yaml-structure.ts';
import { NO_DIRECTIVES, ONE_DOCUMENT, SYNTAX_MISTAKES } from './yaml-syntax.ts';

export type Place = Pick<Problem, 'line' | 'column'>;

/** A YAML document that is plain data, and where in its text everything stands. */
export interface YamlDocument {
  value: unknown;
  /** Where a field's value begins; of a field that is missing or empty, where what should hold it does. */
  placeOf(path: FieldPath): Place;
  /** Where a field's name begins. */
  placeOfKey(path: FieldPath): Place;
}

export interface ParsedYaml {
  /** Null when the mistakes leave nothing to go on with. */
  document: YamlDocument | null;
  problems: readonly Problem[];
}

/** Collections inside collections. The schema needs 8; composing calls itself for each. */
const MAX_DEPTH = 32;
/** The first error of syntax often makes the ones after it. */
const MAX_SYNTAX_PROBLEMS = 20;

const BYTE_ORDER_MARK = '\uFEFF';
// What no editor shows: control characters, a carriage return by itself, and what turns the direction of text around.
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u202a-\u202e\u2066-\u2069\ufeff]|\r(?!\n)/g;

/**
 * Reads one document of YAML 1.2 (core schema) as plain data: no directives, anchors, aliases, merge keys or tags, no key twice, at most
 * 32 collections deep. Takes time in proportion to the text, whatever is in it.
 */
export function parseYaml(source: string): ParsedYaml {
  const text = source.startsWith(BYTE_ORDER_MARK) ? source.slice(1) : source;
  const lines = linesOf(text);
  const problemAt = (offset: number, message: string, path: FieldPath = []): Problem => ({
    ...placeIn(lines, offset),
    path,
    message,
  });
  const hidden = [...text.matchAll(HIDDEN)].slice(0, MAX_SYNTAX_PROBLEMS);
  if (hidden.length > 0) {
    const message = 'holds a character that cannot be seen; delete it, or write it as an escape in double quotes';
    return { document: null, problems: hidden.map(({ index }) => problemAt(index, message)) };
  }
  const { document, mistakes } = compose(text);
  if (document === null || mistakes.length > 0) {
    const told = mistakes.slice(0, MAX_SYNTAX_PROBLEMS);
    return { document: null, problems: told.map(({ offset, message }) => problemAt(offset, message)) };
  }
  const structure = structureProblems(document.contents);
  const problems = structure.map(({ offset, message, path }) => problemAt(offset, message, path));
  return { document: structure.some(({ fatal }) => fatal) ? null : located(document, lines), problems };
}

interface Mistake {
  offset: number;
  message: string;
}

function compose(text: string): { document: Document.Parsed | null; mistakes: readonly Mistake[] } {
  const mistakes: Mistake[] = [];
  // Two equal keys are looked for elsewhere: the library compares each with each.
  const composer = new Composer({ version: '1.2', schema: 'core', uniqueKeys: false, stringKeys: true, logLevel: 'silent' });
  const [document] = composer.compose(checkedTokens(text, mistakes), true, text.length);
  if (document !== undefined) {
    const errors = document.errors.slice(0, MAX_SYNTAX_PROBLEMS);
    mistakes.push(...errors.map(({ pos, code }) => ({ offset: pos[0], message: SYNTAX_MISTAKES[code] })));
  }
  return { document: document ?? null, mistakes };
}

/** The tokens of the first document; whatever must not be composed is left out and told. */
function* checkedTokens(text: string, mistakes: Mistake[]): Generator<CST.Token> {
  let documents = 0;
  for (const token of shallowTokens(text, mistakes)) {
    if (token.type === 'directive') {
      mistakes.push({ offset: token.offset, message: NO_DIRECTIVES });
      continue;
    }
    if (token.type === 'document') documents += 1;
    if (documents > 1) {
      mistakes.push({ offset: token.offset, message: ONE_DOCUMENT });
      return;
    }
    yield token;
  }
}

function* shallowTokens(text: string, mistakes: Mistake[]): Generator<CST.Token> {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme);
    // The document itself stands on the stack too, and a scalar while it is read.
    if (parser.stack.length > MAX_DEPTH + 1 && CST.isCollection(parser.stack.at(-1))) {
      mistakes.push({ offset: parser.offset - lexeme.length, message: `is nested more than ${MAX_DEPTH} deep` });
      return;
    }
  }
  yield* parser.end();
}

function linesOf(text: string): LineCounter {
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', end + 1)) lines.addNewLine(end + 1);
  return lines;
}

function placeIn(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

function located(document: Document.Parsed, lines: LineCounter): YamlDocument {
  const findNode = nodeFinder(document.contents);
  return {
    value: document.toJS({ maxAliasCount: 0 }),
    placeOf(path) {
      const { key, value, missing } = findNode(path);
      const isEmpty = isScalar(value) && value.source === '';
      return placeIn(lines, (missing || isEmpty ? (key ?? value) : (value ?? key))?.range?.[0] ?? 0);
    },
    placeOfKey(path) {
      const { key, value } = findNode(path);
      return placeIn(lines, (key ?? value)?.range?.[0] ?? 0);
    },
  };
}
