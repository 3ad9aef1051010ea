export * from './accounts/account.entity.js';
export * from './accounts/session.entity.js';
export * from './data-source.js';
export * from './repository/access-control-list.entity.js';
export * from './repository/access-grant.entity.js';
export * from './repository/node.entity.js';
export * from './repository/principal.entity.js';
export * from './repository/revision.entity.js';
