import { checkIssuers } from './check-issuers.ts';
import { checkReferences } from './check-references.ts';
import { checkTenants } from './check-tenants.ts';
import type { Report } from './entries.ts';
import { type ConfigFileContext, knownIssuers } from './known-issuers.ts';
import { makeSuggest } from './nearest-name.ts';
import type { Problem } from './problem.ts';
import { type FileReference, referencedFiles } from './referenced-files.ts';
import { salvage } from './salvage.ts';
import { CONFIG_FILE, type ConfigFile } from './schema.ts';
import { problemsOf, schemaIssues } from './schema-problems.ts';
import { reportWarnings } from './warnings.ts';
import { parseYaml, type YamlDocument } from './yaml-document.ts';

/** What a configuration file says, before any file that it names is opened. */
export interface ParsedConfigFile {
  /** Null when there are problems. */
  file: ConfigFile | null;
  problems: readonly Problem[];
  warnings: readonly Problem[];
  /** The files that it names, also when there are problems. */
  references: readonly FileReference[];
  /** Tells a problem with one of them at the place that names it. */
  problemAt: (reference: FileReference, message: string) => Problem;
}

/** Checks the text of a configuration file, opens nothing, and throws nothing whatever the text. */
export function parseConfigFile(text: string, context: ConfigFileContext): ParsedConfigFile {
  const { document, problems: syntax } = parseYaml(text);
  if (document === null) {
    const problemAt = ({ path }: FileReference, message: string) => ({ line: 1, column: 1, path, message });
    return { file: null, problems: syntax, warnings: [], references: [], problemAt };
  }
  const suggest = makeSuggest();
  const issues = schemaIssues(document.value, suggest);
  const problems = [...syntax, ...problemsOf(issues, document, suggest)];
  const sound = salvage(document.value);
  const report = reportTo(problems, document);
  const issuersUnsound = issues.some(({ path }) => path[0] === 'attestation');
  checkTenants(sound, { issuers: knownIssuers(sound, context, issuersUnsound), report, suggest });
  checkIssuers(sound, context, report);
  checkReferences(sound, report, suggest);
  const file = problems.length === 0 ? CONFIG_FILE.parse(document.value) : null;
  const warnings: Problem[] = [];
  if (file !== null) reportWarnings(file, reportTo(warnings, document));
  return {
    file,
    problems,
    warnings,
    references: referencedFiles(sound),
    problemAt: ({ path }, message) => ({ ...document.placeOf(path), path, message }),
  };
}

const reportTo =
  (problems: Problem[], document: YamlDocument): Report =>
  (path, message) => {
    problems.push({ ...document.placeOf(path), path, message });
  };
