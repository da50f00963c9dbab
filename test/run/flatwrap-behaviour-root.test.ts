import { describeBehaviour } from "./flatwrap-behaviour.ts";
import { modes } from "./flatwrap-world.ts";

describeBehaviour(modes.filter(({ isUser }) => !isUser));
