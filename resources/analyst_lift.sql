-- The lift of each campaign over its control group, counted once at publishing. `written_goals` are the goals in the
-- campaigns' files; goals that were reached under an older file count too.
--
-- The interval: Newcombe (1998), method 10: each rate's Wilson score interval, joined by the square root of squares. It
-- holds its 95 % also for the few people and the rates near nothing that control groups have, where the usual normal
-- interval does not. 1.959963984540054 is the normal quantile of 97.5 %.

CREATE TEMP MACRO wilson(reached, people, side) AS (
    (reached + 1.959963984540054 ** 2 / 2
        + side * 1.959963984540054
        * sqrt(greatest(reached * (people - reached) / people, 0) + 1.959963984540054 ** 2 / 4))
    / (people + 1.959963984540054 ** 2)
);

CREATE TEMP TABLE wanted AS
FROM written_goals
UNION
SELECT campaign, goal FROM goals;

INSERT INTO lift BY NAME
WITH people AS (
    SELECT
        campaign,
        count(DISTINCT contact_id) FILTER (WHERE state <> 'control') AS treated,
        count(DISTINCT contact_id) FILTER (WHERE state = 'control') AS control
    FROM participants WHERE campaign IN (SELECT campaign FROM wanted)
    GROUP BY campaign
), reached AS (
    SELECT
        campaign,
        goal,
        count(DISTINCT contact_id) FILTER (WHERE arm <> 'control') AS treated_reached,
        count(DISTINCT contact_id) FILTER (WHERE arm = 'control') AS control_reached
    FROM goals
    GROUP BY campaign, goal
), counted_people AS (
    SELECT
        campaign,
        goal,
        treated,
        coalesce(treated_reached, 0) AS treated_reached,
        control,
        coalesce(control_reached, 0) AS control_reached
    FROM wanted JOIN people USING (campaign) LEFT JOIN reached USING (campaign, goal)
), rates AS (
    SELECT
        *,
        treated_reached / treated AS p1,
        control_reached / control AS p2,
        wilson(treated_reached, treated, -1) AS low1,
        wilson(treated_reached, treated, 1) AS high1,
        wilson(control_reached, control, -1) AS low2,
        wilson(control_reached, control, 1) AS high2
    FROM counted_people WHERE treated > 0 AND control > 0
)
SELECT
    campaign,
    goal,
    counted_people.treated,
    counted_people.treated_reached,
    counted_people.control,
    counted_people.control_reached,
    p1 - p2 AS difference,
    p1 - p2 - sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2) AS low,
    p1 - p2 + sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2) AS high
FROM counted_people LEFT JOIN rates USING (campaign, goal)
ORDER BY campaign, goal;
