/** `@wakerobin/core/fetch`: apps where the web's `Request` and `Response` are spoken, and such apps as handlers. */

export { fromFetch, type FetchHandler, type FromFetchOptions } from './from-fetch.ts'
export { toFetch, type FetchFunction, type FetchOptions } from './to-fetch.ts'
