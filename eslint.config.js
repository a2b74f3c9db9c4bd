import { createTypeScriptImportResolver } from 'eslint-import-resolver-typescript';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

// Imports point one way (docs/architecture.md): each folder of src/ names what it may import besides itself.
const MAY_IMPORT = {
  domain: [],
  gen: [],
  broker: ['domain'],
  authn: ['domain'],
  authz: ['domain'],
  connectors: ['domain'],
  delivery: ['domain'],
  crypto: ['domain'],
  audit: ['domain'],
  notify: ['domain'],
  store: ['domain'],
  worker: ['domain', 'broker'],
  transport: ['domain', 'broker', 'gen'],
  bootstrap: [
    'domain',
    'broker',
    'authn',
    'authz',
    'connectors',
    'delivery',
    'crypto',
    'audit',
    'notify',
    'store',
    'worker',
    'transport',
  ],
  main: ['bootstrap'],
};

const folders = Object.keys(MAY_IMPORT);

const zones = folders.flatMap((folder) => {
  const closed = folders.filter((other) => other !== folder && !MAY_IMPORT[folder].includes(other));
  return [
    ...closed.map((other) => ({
      target: `./src/${folder}`,
      from: `./src/${other}`,
      message: `src/${folder} may import only: ${['itself', ...MAY_IMPORT[folder]].join(', ')}.`,
    })),
    ...['dev', 'test', 'bench'].map((outside) => ({
      target: `./src/${folder}`,
      from: `./${outside}`,
      message: `src/ never imports ${outside}/.`,
    })),
  ];
});

// Adapters that implement one port do not know each other.
const siblings = [
  ['connectors', ['github', 'vaultdb', 'browser']],
  ['store', ['memory', 'postgres', 'redis']],
].flatMap(([parent, names]) =>
  names.flatMap((one) =>
    names
      .filter((other) => other !== one)
      .map((other) => ({
        target: `./src/${parent}/${one}`,
        from: `./src/${parent}/${other}`,
        message: 'Siblings that implement a port never import each other.',
      })),
  ),
);

// Libraries of the edges, which the core must not see.
const EDGE_LIBRARIES = [
  'fastify',
  '@fastify/*',
  '@connectrpc/*',
  '@bufbuild/*',
  'pg',
  'ioredis',
  'node-vault',
  '@octokit/*',
  'pino',
  'prom-client',
];

export default tseslint.config(
  { ignores: ['src/gen', 'node_modules', 'coverage'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: { allowDefaultProject: ['eslint.config.js'] }, tsconfigRootDir: import.meta.dirname },
    },
    plugins: { 'import-x': importX },
    settings: { 'import-x/resolver-next': [createTypeScriptImportResolver()] },
    rules: {
      'import-x/no-restricted-paths': ['error', { zones: [...zones, ...siblings] }],
      'import-x/no-cycle': 'error',
      'import-x/no-extraneous-dependencies': ['error', { devDependencies: ['test/**', 'dev/**', 'bench/**', '*.config.*'] }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-deprecated': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['src/**'],
    rules: {
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'env',
          message: 'Configuration is read once, in src/main, and parsed in src/bootstrap.',
        },
      ],
    },
  },
  { files: ['src/main/**', 'src/bootstrap/**'], rules: { 'no-restricted-properties': 'off' } },
  {
    files: ['src/domain/**', 'src/broker/**', 'src/authz/**'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [{ group: EDGE_LIBRARIES, message: 'The core knows ports only.' }] }],
      'no-restricted-globals': [
        'error',
        { name: 'Date.now', message: 'Use the Clock port.' },
        'setTimeout',
        'setInterval',
        'fetch',
        'crypto',
      ],
    },
  },
  {
    files: ['src/**'],
    ignores: ['src/bootstrap/system-clock.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "CallExpression[callee.object.name='Date'][callee.property.name='now']",
          message: 'Use the Clock port.',
        },
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: 'Use the Clock port.' },
        {
          selector: "CallExpression[callee.object.name='Math'][callee.property.name='random']",
          message: 'Use the IdSource port.',
        },
      ],
    },
  },
  { files: ['test/**', 'dev/**', 'bench/**'], rules: { '@typescript-eslint/no-non-null-assertion': 'off' } },
  {
    files: ['test/**'],
    rules: {
      // Vitest types its asymmetric matchers as any, and fakes implement async ports without waiting.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/require-await': 'off',
      // `[...text]` takes a text apart on purpose.
      '@typescript-eslint/no-misused-spread': 'off',
    },
  },
  { files: ['**/*.js'], extends: [tseslint.configs.disableTypeChecked] },
);
