/** The effective user and group this process makes files as. */
export function currentUser(): { readonly uid: number; readonly gid: number; readonly isRoot: boolean } {
  const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
  return { uid, gid, isRoot: uid === 0 };
}
