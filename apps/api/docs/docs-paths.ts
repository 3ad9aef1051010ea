/** The page, and below it what it is made of. */
export const DOCS_PATH = '/docs';
/** The document itself, for programs. */
export const DOCUMENT_PATH = '/docs-json';
