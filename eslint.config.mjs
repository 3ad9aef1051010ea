import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

const OF_SERVERS = [
  'common',
  'config',
  'contracts',
  'database',
  'engine',
  'keys',
  'logging',
  'queue',
  'storage',
];

/** The arrows between the parts: which libraries each of them may import. Others are forbidden. */
const ARROWS = {
  'apps/api': [...OF_SERVERS, 'archive', 'contracts/schemas'],
  'apps/cli': ['common', 'contracts'],
  'apps/cli/recover': ['archive', 'common', 'config', 'contracts', 'engine', 'keys', 'storage'],
  'apps/worker': OF_SERVERS,
  'libs/engine': ['archive', 'common', 'config', 'contracts', 'keys', 'postgres', 'storage'],
  'libs/archive': ['common', 'config', 'contracts'],
  'libs/postgres': ['common', 'config', 'contracts'],
  'libs/storage': ['common', 'config', 'contracts'],
  'libs/queue': ['common', 'config', 'contracts', 'contracts/schemas', 'keys', 'logging', 'postgres'],
  'libs/database': ['common', 'config', 'contracts', 'logging', 'postgres'],
  'libs/keys': ['config'],
  'libs/logging': ['config'],
  'libs/config': [],
  'libs/common': ['contracts'],
  'libs/contracts': [],
  dev: ['common', 'contracts'],
};

/** Packages that only some places may import: a place is a part, a folder or a file. */
const PACKAGES = [
  {
    name: '(@aws-sdk|@smithy)/',
    allowed: (place) => place === 'libs/storage',
    message: 'Only libs/storage uses the AWS SDK.',
  },
  {
    name: '(bullmq|@nestjs/bullmq|@bull-board)(/|$)',
    allowed: (place) =>
      [
        'libs/queue',
        'apps/api/dashboard',
        'apps/worker/daemon.processor.ts',
        'apps/worker/check.processor.ts',
      ].includes(place),
    message: 'Only libs/queue, the processors and the dashboard use BullMQ.',
  },
  {
    name: '(@nestjs|typeorm)(/|$)',
    allowed: (place) =>
      !['libs/engine', 'libs/archive', 'libs/common', 'libs/postgres', 'libs/storage'].includes(place),
    message: 'The heart is plain TypeScript: it knows neither Nest nor TypeORM.',
  },
  {
    name: '(?!(node:\\w|commander$))[^.#]',
    allowed: (place) => place !== 'apps/cli',
    message: 'The command line needs commander and Node, and nothing of the server.',
  },
  {
    name: '\\.{1,2}/(.*/)?recover/',
    allowed: (place) => place !== 'apps/cli',
    allowTypeImports: true,
    message: 'The engine is loaded on demand: await import(…) in commands/recover.ts.',
  },
  {
    name: 'commander$',
    allowed: (place) => place === 'apps/cli',
    message: 'Only the command line uses commander.',
  },
  {
    name: '[^.#]',
    allowed: (place) => place !== 'libs/contracts',
    message: 'libs/contracts imports nothing: the command line loads it.',
  },
  {
    name: '(?!zod$)[^.#]',
    allowed: (place) => place !== 'libs/contracts/schemas',
    message: 'The schemas of the contracts import zod alone.',
  },
];

const ENVIRONMENT =
  'Only libs/config reads the environment, and apps/cli/environment.ts for the command line.';
const readsEnvironment = (part) => ['libs/config', 'dev'].includes(part);

/** The rule for the files of a place that lie `depth` folders below the root of their part. */
function imports(part, place, depth) {
  const libraries = ARROWS[part].map((library) => `#${library}`);
  const patterns = [
    {
      regex: libraries.length > 0 ? `^#(?!(${ARROWS[part].join('|')})$)` : '^#',
      message: `${part} may import ${libraries.join(', ') || 'none of the libraries'}.`,
    },
    {
      regex: `^(\\./)?(\\.\\./){${depth}}`,
      message: `This leaves ${part}. Libraries are imported by name, such as #contracts; apps never.`,
    },
    ...PACKAGES.filter(({ allowed }) => !allowed(place)).map(
      ({ name, allowTypeImports = false, message }) => ({
        regex: `^${name}`,
        allowTypeImports,
        message,
      }),
    ),
  ];
  const paths = ['process', 'node:process'].map((name) => ({
    name,
    importNames: ['env'],
    message: ENVIRONMENT,
  }));
  return { 'no-restricted-imports': ['error', { patterns, ...(!readsEnvironment(part) && { paths }) }] };
}

const arrows = [
  ...Object.keys(ARROWS).flatMap((part) => [
    ...[1, 2, 3, 4].map((depth) => ({
      files: [`${part}/${'*/'.repeat(depth - 1)}*.ts`],
      rules: imports(part, part, depth),
    })),
    {
      files: [`${part}/**/*.ts`],
      rules: {
        // Both would go round the rule above.
        'no-restricted-syntax': [
          'error',
          { selector: 'ImportExpression, TSImportType', message: 'Import at the top of the file.' },
          ...(part === 'libs/contracts'
            ? [{ selector: ':function', message: 'libs/contracts holds types and schemas only.' }]
            : []),
        ],
        'no-restricted-properties': [
          readsEnvironment(part) ? 'off' : 'error',
          { object: 'process', property: 'env', message: ENVIRONMENT },
        ],
      },
    },
  ]),
  {
    files: ['libs/contracts/schemas/*.ts'],
    rules: imports('libs/contracts', 'libs/contracts/schemas', 2),
  },
  { files: ['apps/api/dashboard/*.ts'], rules: imports('apps/api', 'apps/api/dashboard', 2) },
  ...['apps/worker/daemon.processor.ts', 'apps/worker/check.processor.ts'].map((file) => ({
    files: [file],
    rules: imports('apps/worker', file, 1),
  })),
  {
    files: ['apps/cli/commands/recover.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ImportExpression[source.value!="../recover/recover-archive.js"], TSImportType',
          message: 'Import at the top of the file.',
        },
      ],
    },
  },
  // A user's environment is not a server's settings.
  { files: ['apps/cli/environment.ts'], rules: { 'no-restricted-properties': 'off' } },
].map((block) => ({ ...block, ignores: ['**/*.spec.ts'] }));

export default defineConfig([
  globalIgnores(['dist/', 'coverage/', '.data/']),
  {
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-unused-vars': 'error',
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      // A `using` declaration has its effect at the end of its block.
      '@typescript-eslint/no-unused-vars': ['error', { ignoreUsingDeclarations: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      // Caught errors of unknown type are kept and thrown later.
      '@typescript-eslint/only-throw-error': 'off',
      'no-throw-literal': 'error',
      '@typescript-eslint/no-shadow': ['error', { builtinGlobals: false }],
    },
  },
  {
    files: ['test/**/*.ts', '**/*.spec.ts'],
    rules: {
      // Stand-ins for asynchronous things need not wait for anything.
      '@typescript-eslint/require-await': 'off',
      // Jest's asymmetric matchers are typed any.
      '@typescript-eslint/no-unsafe-assignment': 'off',
    },
  },
  ...arrows,
]);
