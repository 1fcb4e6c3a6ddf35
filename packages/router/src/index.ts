/** `@wakerobin/router`: routes as a handler. Importing it gives every conn `param` and `route`. */

export { param } from './conn-param.ts'
export type { Param, ParamName, ParamsOf, ParamValue } from './param.ts'
export type { MethodsRouteFunction, RouteFunction } from './route-functions.ts'
export { Router, router, type RouterOptions } from './router.ts'
